// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/words.h"

#include <algorithm>

#include "base/printable.h"
#include "core/definition_attributes.h"
#include "core/forward_spec.h"
#include "glib/shell_word.h"

namespace vf {
namespace {

constexpr std::size_t most_shown = 2000;  // of a line of a fix, see src/cli/doctor.cpp

}  // namespace

std::string forward_name(const ForwardView& forward) {
  return forward.name.empty() ? forward.definition : forward.name;
}

std::string remove_command(const ForwardView& forward, std::string_view scope) {
  return "virt-forward remove " + shell_word(forward.domain) + ' ' +
         shell_word(forward_name(forward)) + ' ' + std::string(scope);
}

std::optional<std::string> add_command(const std::string& domain,
                                       const ForwardDefinition& definition,
                                       std::string_view scope) {
  std::string spec = forward_spec_text(definition);
  bool names_protocol = false;
  if (spec.empty()) {  // a guest's socket takes no "/udp" behind it
    ForwardDefinition plain = definition;
    plain.protocol = Protocol::tcp;
    spec = forward_spec_text(plain);
    names_protocol = true;
  }
  if (spec.empty() || spec.starts_with('-')) return std::nullopt;
  std::string command = "virt-forward add " + shell_word(domain) + ' ' + shell_word(spec);
  for (const auto& [name, value] : attributes_of(definition)) {
    if (name == "guest-port" || name == "guest-socket" || name == "host-port" ||
        name == "host-socket" || name == "host-address" || (name == "protocol" && !names_protocol))
      continue;
    if (name == "enabled")
      command += " --disabled";
    else if (name == "required")
      command += " --required";
    else
      command += " --" + name + ' ' + shell_word(value);
  }
  command += ' ' + std::string(scope);
  if (printable(command, most_shown) != command) return std::nullopt;
  return command;
}

std::string edit_command(const std::string& domain, Side side) {
  if (side == Side::config) return "virsh edit " + shell_word(domain);
  return "virsh metadata " + shell_word(domain) + ' ' + std::string(metadata_namespace) +
         " --live --key vf --edit";
}

const ForwardDefinition* definition_of(const ForwardView& forward, const SeenMetadata& metadata) {
  if (!metadata) return nullptr;
  const auto& all = metadata->definitions.forwards;
  const auto found = std::ranges::find(all, forward.definition, &ForwardDefinition::identity);
  return found == all.end() ? nullptr : &*found;
}

std::string copy_command(const ForwardView& forward, const ForwardDefinition* definition, Side side,
                         const SeenMetadata& there) {
  const std::string_view scope = side == Side::live ? "--live" : "--config";
  const auto command = definition ? add_command(forward.domain, *definition, scope) : std::nullopt;
  if (!command)
    return edit_command(forward.domain, side) +
           "   # put in the <forward> that is shown by: virsh metadata " +
           shell_word(forward.domain) + ' ' + std::string(metadata_namespace) +
           (side == Side::config ? " --live" : " --config");
  return (definition_of(forward, there) ? remove_command(forward, scope) + " && " : "") + *command;
}

std::string make_again(const ForwardView& forward, const ForwardDefinition* definition,
                       std::string_view scope, std::string_view hint) {
  const auto add = definition ? add_command(forward.domain, *definition, scope) : std::nullopt;
  if (add) return remove_command(forward, scope) + " && " + *add;
  return edit_command(forward.domain, Side::live) + "   # " + std::string(hint);
}

bool goes_astray(const DomainView& domain, const ForwardView& forward) {
  const auto& address = forward.guest_address;
  const bool unserved =
      forward.state == ForwardState::waiting || forward.state == ForwardState::failed;
  return forward.live && forward.origin == Origin::metadata && unserved && address &&
         !address->is_loopback() && !domain.addresses.empty() &&
         std::ranges::find(domain.addresses, *address) == domain.addresses.end();
}

std::string lead_back_command(const ForwardView& forward, const SeenMetadata& live) {
  const ForwardDefinition* const definition = definition_of(forward, live);
  const std::string_view scope = forward.config ? "--persistent" : "--live";
  const std::string_view hint = "let its <forward> have another guest-address, or none";
  if (!definition) return make_again(forward, nullptr, scope, hint);
  ForwardDefinition anywhere = *definition;
  anywhere.guest_address.reset();
  return make_again(forward, &anywhere, scope, hint) + "   # or with another --guest-address";
}

}  // namespace vf
