// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the hook needs of a domain's XML, by one streaming pass of expat: no tree, no DTD, no
// entities of the document's own.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace vf {

struct DomainScan {
  std::string uuid;  // lower case; empty when there was none of the right form
  std::string name;
  std::optional<int> run;  // <domain id=>
  // The first /domain/metadata/forwards of ours, verbatim but for namespace declarations that it
  // needs and that stood outside of it.
  std::string element;
  bool complete = false;  // all of the above that the document has is here
  bool required = false;  // has an enabled <forward required="yes">, as far as was read
};

// False for a domain that cannot have metadata of ours; much cheaper than a scan.
bool mentions_forwards(std::string_view xml);

// Takes a document that is cut off or not well-formed for what it has.
DomainScan scan_domain(std::string_view xml);

}  // namespace vf
