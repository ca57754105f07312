// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/forward_form.h"

#include <glib.h>
#include <glib/gi18n.h>

#include <algorithm>

#include "core/definition_attributes.h"
#include "core/definition_xml.h"

namespace vf::panel {
namespace {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

template <typename... Arguments>
std::string format(const char* text, Arguments... arguments) {
  return take_string(g_strdup_printf(text, arguments...));
}

bool has(const Attributes& attributes, const std::string& name) {
  return std::ranges::any_of(attributes, [&](const auto& one) { return one.first == name; });
}

bool is_ports(const std::string& text) {
  return PortRange::parse(text).has_value();
}

}  // namespace

ForwardForm form_of(const ForwardDefinition& definition) {
  ForwardForm form;
  if (const auto* ports = std::get_if<PortRange>(&definition.guest))
    form.guest_port = ports->text();
  else
    form.guest_socket = std::get<SocketPath>(definition.guest).path;
  if (const auto* ports = std::get_if<PortRange>(&definition.host)) form.host_port = ports->text();
  if (const auto* path = std::get_if<SocketPath>(&definition.host)) form.host_socket = path->path;
  form.protocol = definition.protocol;
  form.label = definition.label;
  if (definition.host_address) form.host_address = definition.host_address->text();
  form.transport = definition.transport;
  return form;
}

Attributes ForwardForm::attributes() const {
  const Attributes all{
      {"guest-port", trimmed(guest_port)},
      {"guest-socket", guest_socket},
      {"host-port", trimmed(host_port)},
      {"host-socket", host_socket},
      {"protocol", std::string(text(protocol))},
      {"host-address", trimmed(host_address)},
      {"transport",
       transport == Transport::automatic ? std::string() : std::string(text(transport))},
      {"label", trimmed(label)}};
  Attributes given;
  for (const auto& [name, value] : all)
    if (!value.empty()) given.emplace_back(name, value);
  return given;
}

Attributes ForwardForm::changes(const ForwardForm& before) const {
  const Attributes then = before.attributes();
  const Attributes now = attributes();
  Attributes changes;
  for (const auto& one : now)
    if (std::ranges::find(then, one) == then.end()) changes.push_back(one);
  for (const auto& [name, value] : then)
    if (!has(now, name)) changes.emplace_back(name, "");
  return changes;
}

Attributes ForwardForm::changed(const ForwardDefinition& definition, const Attributes& changes) {
  Attributes all = attributes_of(definition);
  for (const auto& change : changes) {
    std::erase_if(all, [&](const auto& one) { return one.first == change.first; });
    if (!change.second.empty()) all.push_back(change);
  }
  return all;
}

bool ForwardForm::moves(const ForwardForm& before) const {
  return trimmed(guest_port) != trimmed(before.guest_port) ||
         trimmed(host_port) != trimmed(before.host_port) || protocol != before.protocol;
}

Result<void> ForwardForm::check() const {
  const std::string guest = trimmed(guest_port);
  const std::string host = trimmed(host_port);
  for (const std::string* ports : {&guest, &host})
    if (!ports->empty() && !is_ports(*ports))
      return Unexpected(
          ErrorCode::invalid_argument,
          format(_("“%s” is no port. Ports are 1 to 65535, or a range like 8000-8009."),
                 ports->c_str()));
  const auto parsed = parse_forward(attributes());
  if (!parsed) return Unexpected(parsed.error());
  return {};
}

EditFlags Keeping::flags() const {
  EditFlags flags;
  flags.live = true;
  flags.config = span == Span::always && (!edited || saved);
  return flags;
}

std::string Keeping::text() const {
  if (!defined) return _("This machine has no definition for a next start");
  if (span == Span::this_run)
    return saved ? _("Its next start has the forward as it was") : _("Gone when the machine stops");
  return saved ? _("Changed now and for its next starts") : _("There at its next starts as well");
}

Verdict verdict(const Result<std::vector<AddedForward>>& answer) {
  if (!answer) return {Verdict::Kind::wrong, answer.error().message};
  if (answer->empty() || !answer->front().host_port) return {Verdict::Kind::good, {}};
  const AddedForward& first = answer->front();
  const unsigned got = first.host_port->number();
  if (answer->size() > 1)
    return {Verdict::Kind::good, format(_("The first of them gets port %u of this host."), got)};
  if (!first.requested_port || first.requested_port == first.host_port)
    return {Verdict::Kind::good, format(_("Port %u of this host is free."), got)};
  return {Verdict::Kind::moved,
          format(_("Port %u of this host is taken. The forward gets port %u."),
                 unsigned{first.requested_port->number()}, got)};
}

}  // namespace vf::panel
