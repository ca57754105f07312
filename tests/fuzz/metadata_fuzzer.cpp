// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What anybody who may edit a domain writes into its metadata.

#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_errors(const ParsedDefinitions& parsed) {
  require(parsed.errors.size() <= DefinitionLimits::errors + 1);
  for (const DefinitionError& error : parsed.errors) {
    require(error.line >= 1);
    require(is_plain_text(error.text()));
  }
}

// What was read without an error says the same when it is written, and after an edit and back.
void check_definitions(std::string_view xml, const Definitions& definitions) {
  const auto again = parse_definitions(write_definitions(definitions));
  require(again.errors.empty() && again.definitions == definitions);

  ForwardDefinition forward{.guest = *PortRange::parse("80")};
  forward.name = "added by the fuzzer";
  const auto added = with_forwards_added(xml, {forward});
  if (!added) return;  // too large, or there is one already
  const auto edited = parse_definitions(*added);
  require(edited.errors.empty());
  require(edited.definitions.forwards.size() == definitions.forwards.size() + 1);
  require(edited.definitions.forwards.back() == forward);
  require(edited.definitions.automatic == definitions.automatic);
  require(edited.definitions.ssh == definitions.ssh);

  const auto removed = with_forward_removed(*added, forward.identity());
  require(removed.has_value());
  const auto back = parse_definitions(*removed);
  require(back.errors.empty() && back.definitions == definitions);
}

void check_attributes(std::string_view text) {
  const auto forward = parse_forward({{"guest-port", "80"},
                                      {"name", std::string(text)},
                                      {"label", std::string(text)},
                                      {std::string(text), "x"}});
  require(!forward && is_utf8(forward.error().message));
}

void check_domain(std::string_view xml) {
  const std::string domain = "<domain><metadata>" + std::string(xml) + "</metadata></domain>";
  const auto element = forwards_element(domain);
  if (!element || element->empty()) return;
  check_errors(parse_definitions(*element));
}

}  // namespace
}  // namespace vf

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = vf::parse_definitions(text);
  vf::check_errors(parsed);
  if (parsed.errors.empty() && !text.empty()) vf::check_definitions(text, parsed.definitions);
  // No crash is all that is asked of an edit of what is wrong.
  const auto removed = vf::with_forward_removed(text, "tcp:8080:80");
  if (removed) vf::check_errors(vf::parse_definitions(*removed));
  vf::check_attributes(text.substr(0, 300));
  vf::check_domain(text);
  return 0;
}
