// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/definition_reader.h"

#include <algorithm>

#include "base/printable.h"
#include "core/definition_schema.h"

namespace vf {
namespace {

constexpr std::size_t found_bytes = 80;

template <typename Element>
std::string list_of_names(const AttributeTable<Element>& table) {
  std::string list = table.empty()       ? "no attributes"
                     : table.size() == 1 ? "only the attribute "
                                         : "only the attributes ";
  for (std::size_t index = 0; index < table.size(); ++index) {
    if (index > 0) list += index + 1 < table.size() ? ", " : " and ";
    list += table[index].name;
  }
  return list;
}

// Reads one element: remembers which attributes could be read, so that rules between attributes
// speak only of those.
template <typename Element>
class ElementReader {
 public:
  ElementReader(const RawElement& element, std::vector<DefinitionError>& errors)
      : element_(element), errors_(errors), errors_before_(errors.size()) {}

  void read_all(const AttributeTable<Element>& table, Element& value) {
    for (const RawAttribute& attribute : element_.attributes) {
      const auto row = std::find_if(table.begin(), table.end(), [&](const auto& candidate) {
        return candidate.name == attribute.name;
      });
      if (row == table.end()) {
        reject(attribute, list_of_names(table));
      } else if (readable(attribute.name)) {
        reject(attribute, "each attribute once");
      } else if (attribute.value.size() > DefinitionLimits::value_bytes) {
        reject(attribute, "at most " + std::to_string(DefinitionLimits::value_bytes) + " bytes");
      } else if (!row->read(value, attribute.value)) {
        reject(attribute, row->allowed);
      } else {
        readable_.push_back(&attribute);
      }
    }
  }

  // The attribute, if it is there and could be read.
  const RawAttribute* readable(std::string_view name) const {
    for (const RawAttribute* attribute : readable_)
      if (attribute->name == name) return attribute;
    return nullptr;
  }

  // The attribute is there, right or wrong.
  bool present(std::string_view name) const {
    return std::any_of(element_.attributes.begin(), element_.attributes.end(),
                       [&](const RawAttribute& attribute) { return attribute.name == name; });
  }

  void reject(const RawAttribute& attribute, std::string allowed) {
    clean_ = false;
    if (errors_.size() >= DefinitionLimits::errors) return;
    errors_.push_back({.line = attribute.line,
                       .element = element_.name,
                       .attribute = printable(attribute.name, found_bytes),
                       .found = printable(attribute.value, found_bytes),
                       .allowed = std::move(allowed)});
  }

  void reject_element(std::string found, std::string allowed) {
    clean_ = false;
    if (errors_.size() >= DefinitionLimits::errors) return;
    errors_.push_back({.line = element_.line,
                       .element = element_.name,
                       .found = std::move(found),
                       .allowed = std::move(allowed)});
  }

  // `second` makes no sense beside `first`.
  void exclude(std::string_view first, std::string_view second) {
    if (!present(first)) return;
    if (const RawAttribute* attribute = readable(second))
      reject(*attribute, "no " + std::string(second) + " beside " + std::string(first));
  }

  bool clean() const { return clean_; }

  void name_errors(const std::string& identity) {
    for (std::size_t index = errors_before_; index < errors_.size(); ++index)
      errors_[index].identity = identity;
  }

 private:
  const RawElement& element_;
  std::vector<DefinitionError>& errors_;
  std::size_t errors_before_;
  bool clean_ = true;
  std::vector<const RawAttribute*> readable_;
};

// The rules that hold between the attributes of <forward> and of <rule>.
template <typename Element>
void check_sides(ElementReader<Element>& reader, std::uint32_t guest_width, const HostSide& host) {
  reader.exclude("host-port", "host-socket");
  reader.exclude("host-socket", "host-address");
  if (reader.present("host-port") && reader.present("host-socket")) return;
  if (const RawAttribute* attribute = reader.readable("host-port")) {
    const std::uint32_t width = std::get<PortRange>(host).width();
    if (guest_width != 0 && width != guest_width)
      reader.reject(*attribute, guest_width == 1 ? "single ports, as on the guest's side"
                                                 : "ranges of " + std::to_string(guest_width) +
                                                       " ports, as on the guest's side");
  }
  if (const RawAttribute* attribute = reader.readable("host-socket"))
    if (guest_width > 1)
      reader.reject(*attribute, "sockets for a single guest port, not for a range");
}

// What identifies a forward that is wrong elsewhere; empty when that is wrong too.
std::string identity_if_known(const ElementReader<ForwardDefinition>& reader,
                              const ForwardDefinition& forward) {
  if (reader.readable("name")) return forward.name;
  for (const auto name : {"name", "protocol", "guest-port", "guest-socket", "guest-address",
                          "host-port", "host-socket", "host-address"})
    if (reader.present(name) && !reader.readable(name)) return {};
  if (!reader.readable("guest-port") && !reader.readable("guest-socket")) return {};
  return forward.identity();
}

}  // namespace

std::optional<ForwardDefinition> read_forward(const RawElement& element,
                                              std::vector<DefinitionError>& errors) {
  ForwardDefinition forward{.guest = SocketPath{}};
  ElementReader<ForwardDefinition> reader(element, errors);
  reader.read_all(forward_attributes(), forward);

  if (!reader.present("guest-port") && !reader.present("guest-socket"))
    reader.reject_element("neither guest-port nor guest-socket", "exactly one of the two");
  reader.exclude("guest-port", "guest-socket");
  reader.exclude("guest-socket", "guest-address");
  std::uint32_t guest_width = 0;  // unknown
  if (!(reader.present("guest-port") && reader.present("guest-socket"))) {
    if (reader.readable("guest-socket")) guest_width = 1;
    if (const auto* range = std::get_if<PortRange>(&forward.guest)) guest_width = range->width();
  }
  check_sides(reader, guest_width, forward.host);

  if (reader.clean()) return forward;
  reader.name_errors(identity_if_known(reader, forward));
  return std::nullopt;
}

std::optional<AutoRule> read_rule(const RawElement& element, std::vector<DefinitionError>& errors) {
  AutoRule rule;
  ElementReader<AutoRule> reader(element, errors);
  reader.read_all(rule_attributes(), rule);
  // A rule without a guest port gives each match a single host port.
  const bool unknown = reader.present("guest-port") && !reader.readable("guest-port");
  check_sides(reader, unknown ? 0 : rule.guest_port ? rule.guest_port->width() : 1, rule.host);
  if (!reader.clean()) return std::nullopt;
  return rule;
}

std::optional<SshDefinition> read_ssh(const RawElement& element,
                                      std::vector<DefinitionError>& errors) {
  SshDefinition ssh;
  ElementReader<SshDefinition> reader(element, errors);
  reader.read_all(ssh_attributes(), ssh);
  if (!reader.present("user")) reader.reject_element("no user", "elements with the attribute user");
  if (!reader.clean()) return std::nullopt;
  return ssh;
}

std::optional<AutoDefinition> read_auto(const RawElement& element,
                                        std::vector<DefinitionError>& errors) {
  AutoDefinition automatic;
  ElementReader<AutoDefinition> reader(element, errors);
  reader.read_all(auto_attributes(), automatic);
  if (!reader.clean()) return std::nullopt;
  return automatic;
}

void read_forwards(const RawElement& element, std::vector<DefinitionError>& errors) {
  Definitions definitions;
  ElementReader<Definitions> reader(element, errors);
  reader.read_all({}, definitions);
}

}  // namespace vf
