// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Definitions from and to XML, on libxml2: no network, no entities, no DTD, bounded depth and size.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "core/definition.h"

namespace vf {

// One thing wrong in a document. `line` counts from 1 in the text that was parsed; `attribute` is
// empty when the element itself is wrong; `found` is printable and cut to 80 characters.
struct DefinitionError {
  int line = 0;
  std::string element;
  std::string attribute;
  std::string found;
  std::string allowed;
  std::string identity;  // of the forward that is wrong, where one can be told

  // "line 3: <forward> host-port="99999": allowed are 1-65535 or a range like 8000-8009",
  // "line 4: <forwrd>: unknown element in <forwards>; allowed are <forward>, <auto> and
  // <ssh>"
  std::string text() const;

  friend bool operator==(const DefinitionError&, const DefinitionError&) = default;
};

// What could be read and everything that could not: a bad forward is left out and reported, its
// good siblings stand. An <auto> with anything wrong in it is read as enabled="no", since the rules
// that are left could forward what the wrong one blocks. A document that is not well-formed, too
// large or not ours gives no definitions and at least one error. Ordered by line; past
// DefinitionLimits::errors the last one says that there are more.
struct ParsedDefinitions {
  Definitions definitions;
  std::vector<DefinitionError> errors;
};

// `xml` is the element as libvirt hands it out: with namespace (hook, domain XML) or without any
// (virDomainGetMetadata drops prefix and xmlns). An empty text is an empty document without errors.
ParsedDefinitions parse_definitions(std::string_view xml);

// The attributes of one <forward> as the command line and D-Bus give them, by the same checks.
// Errors are InvalidArgument, one line per wrong attribute.
Result<ForwardDefinition> parse_forward(
    const std::vector<std::pair<std::string, std::string>>& attributes);

// Edits keep what other tools wrote: unknown content, order, comments inside, foreign attributes.
// `xml` may be empty (a new element is made). The result has neither prefix nor namespace for what
// is ours, as virDomainSetMetadata (with "vf" as the key) wants it. InvalidArgument when `xml`
// cannot be parsed at all, for an identity that a forward of it or an earlier one of `forwards` has
// already, right or wrong (of_entry()), and for more forwards than a document may have.
Result<std::string> with_forwards_added(std::string_view xml,
                                        const std::vector<ForwardDefinition>& forwards);
// Removes every forward of that identity. An empty text when nothing is left: the element itself
// can go. NoSuchForward when no forward has that identity.
Result<std::string> with_forward_removed(std::string_view xml, std::string_view identity);

// Sets attributes of the forward of that identity; an empty value takes one away. `forward` is what
// it is then. NoSuchForward as above; InvalidArgument as parse_forward() has it, and when another
// forward has the new identity.
struct ChangedForward {
  std::string xml;
  ForwardDefinition forward;
};
Result<ChangedForward> with_forward_changed(
    std::string_view xml, std::string_view identity,
    const std::vector<std::pair<std::string, std::string>>& attributes);

// Blocks the ports by a marked rule in front of all others, and takes ports out of such rules
// again; neither switches automatic forwarding on or off. The text itself where there is nothing to
// change. InvalidArgument as above, and for more rules than a document may have. A block takes away
// the marked allows of its ports.
Result<std::string> with_block_added(std::string_view xml, Protocol protocol, PortRange ports);
Result<std::string> with_block_removed(std::string_view xml, Protocol protocol, PortRange ports);
// Forwards what `rule` matches, by a marked rule: in front of all others, one with a process
// directly before `asking`, or last where that rule is not there. Takes `ports` out of the marked
// blocks. As above for the rest.
Result<std::string> with_allow_added(std::string_view xml, AutoRule rule, PortRange ports,
                                     const AutoRule* asking = nullptr);
// Takes back what with_allow_added() made: without a process, what allows these ports whoever
// listens there (others of a range stay allowed), and `rules`; with one, what allows that process
// at any of these ports. The text itself where there is nothing of it.
struct TakenBack {
  Protocol protocol = Protocol::tcp;
  PortRange ports;
  std::string process;          // a name, no pattern
  std::vector<AutoRule> rules;  // as they stand there
};
Result<std::string> with_allow_removed(std::string_view xml, const TakenBack& what);

// Sets `enabled` of <auto>. An <auto> that would say no more than that the policy decides goes.
Result<std::string> with_automatic(std::string_view xml, AutoMode mode);

// The whole as a new document with our namespace as the default, attributes at their defaults left
// out.
std::string write_definitions(const Definitions& definitions);

// One <rule> alone, in one line, attributes at their defaults left out.
std::string rule_text(const AutoRule& rule);

// The element of ours inside a domain's XML, with its namespaces declared; empty when there is
// none. Fails when `domain_xml` has one but is not well-formed.
Result<std::string> forwards_element(std::string_view domain_xml);

}  // namespace vf
