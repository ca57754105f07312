// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What we need of a domain's XML, besides our metadata. libvirt wrote it, users and other tools had
// their hand in it: whatever is missing or odd is left out.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugin/domain_snapshot.h"

namespace vf {

struct DomainDevices {
  std::vector<GuestInterface> interfaces;
  std::optional<std::uint32_t> vsock_cid;
  bool guest_agent = false;  // connected

  friend bool operator==(const DomainDevices&, const DomainDevices&) = default;
};

// Nothing but defaults for a text that is not well-formed.
DomainDevices parse_devices(std::string_view domain_xml);

// True when two XML elements say the same: names without prefix, attributes, texts without the
// space around them. Comments do not count. False when either is not well-formed.
bool same_element(std::string_view one, std::string_view other);

}  // namespace vf
