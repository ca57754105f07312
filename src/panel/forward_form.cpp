// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/forward_form.h"

#include <glib.h>
#include <glib/gi18n.h>

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

bool is_ports(const std::string& text) {
  return PortRange::parse(text).has_value();
}

}  // namespace

Attributes ForwardForm::changes() const {
  return {{"guest-port", trimmed(guest_port)},
          {"host-port", trimmed(host_port)},
          {"protocol", std::string(text(protocol))},
          {"label", trimmed(label)}};
}

Attributes ForwardForm::attributes() const {
  Attributes given;
  for (auto& [name, value] : changes())
    if (!value.empty()) given.emplace_back(name, value);
  return given;
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
