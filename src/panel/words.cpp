// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/words.h"

#include <glib.h>
#include <glib/gi18n.h>

#include <algorithm>
#include <array>

#include "base/printable.h"
#include "glib/ref.h"

namespace vf::panel {
namespace {

// Names and texts are the guest's own: made fit for one line.
std::string shown(const std::string& text) {
  return printable(text, 256);
}

template <typename... Arguments>
std::string format(const char* text, Arguments... arguments) {
  return take_string(g_strdup_printf(text, arguments...));
}

std::string join(std::initializer_list<std::string> parts) {
  std::string joined;
  for (const std::string& part : parts)
    if (!part.empty()) joined += (joined.empty() ? "" : " · ") + part;
  return joined;
}

std::string port_text(Protocol protocol, const std::optional<Port>& port) {
  if (!port) return {};
  return protocol == Protocol::udp ? format(_("UDP port %u"), port->number())
                                   : format(_("port %u"), port->number());
}

std::string at_addresses(const std::string& port, const std::vector<IpAddress>& addresses) {
  if (port.empty() || addresses.empty()) return port;
  if (std::ranges::any_of(addresses, [](const IpAddress& one) { return one.is_wildcard(); }))
    return format(_("%s on all addresses"), port.c_str());
  std::string list;
  for (const IpAddress& address : addresses)
    list += (list.empty() ? "" : ", ") + address.text();
  // Translators: "port 3000 on 127.0.0.1"
  return format(_("%s on %s"), port.c_str(), list.c_str());
}

std::string way(const ForwardView& forward) {
  if (!forward.transport) return {};
  std::string way(text(*forward.transport));
  if (forward.offload != Offload::none && forward.offload != Offload::automatic)
    way += " + " + std::string(text(forward.offload));
  return way;
}

std::string process_name(const std::optional<ProcessView>& process) {
  return process ? shown(process->name) : std::string();
}

std::string clock_time(std::int64_t unix_seconds) {
  GDateTime* time = g_date_time_new_from_unix_local(unix_seconds);
  if (!time) return {};
  const std::string text = take_string(g_date_time_format(time, "%X"));
  g_date_time_unref(time);
  return text;
}

std::string size(std::uint64_t bytes) {
  return take_string(g_format_size(bytes));
}

bool on_localhost(const ForwardView& forward) {
  const auto& addresses = forward.host_addresses;
  return std::ranges::find(addresses, IpAddress::loopback4()) != addresses.end();
}

}  // namespace

std::string title(const ForwardView& forward) {
  for (const std::string& name : {forward.label, forward.name})
    if (!name.empty()) return shown(name);
  if (const std::string name = process_name(forward.process); !name.empty()) return name;
  if (!forward.guest_socket.empty()) return shown(forward.guest_socket);
  return forward.guest_port ? format(_("Port %u"), forward.guest_port->number()) : _("Forward");
}

std::string title(const PortView& port) {
  if (const std::string name = process_name(port.process); !name.empty()) return name;
  return port.port ? format(_("Port %u"), port.port->number()) : _("Port");
}

std::string details(const ForwardRow& row) {
  const ForwardView& forward = row.forward;
  const std::string process = process_name(forward.process);
  std::vector<IpAddress> bound = row.bound;
  if (bound.empty() && forward.guest_address) bound.push_back(*forward.guest_address);
  const bool passing = row.persistent && forward.origin == Origin::metadata && !forward.config;
  return join({process == title(forward) ? std::string() : process,
               at_addresses(port_text(forward.protocol, forward.guest_port), bound),
               forward.guest_port ? std::string() : shown(forward.guest_socket), way(forward),
               forward.origin == Origin::automatic ? _("automatic")
               : passing                           ? _("this run only")
                                                   : ""});
}

std::string details(const PortView& port) {
  return join(
      {at_addresses(port_text(port.protocol, port.port), port.addresses), shown(port.container)});
}

std::string url(const ForwardView& forward) {
  if (!forward.host_socket.empty()) return shown(forward.host_socket);
  std::string url = forward.url.empty() ? forward_url(forward, "") : forward.url;
  constexpr std::string_view literal = "127.0.0.1:";
  if (on_localhost(forward))
    if (const auto at = url.find(literal); at != std::string::npos)
      url.replace(at, literal.size(), "localhost:");
  return shown(url);
}

bool opens(const std::string& url) {
  return url.find("://") != std::string::npos;
}

std::string state(const ForwardView& forward) {
  switch (forward.state) {
    case ForwardState::active:
      return forward.proven ? _("Active") : _("Active, not used yet");
    case ForwardState::waiting:
      return _("Waiting");
    case ForwardState::no_listener:
      return _("Nothing listens");
    case ForwardState::port_busy:
      return _("Port is taken");
    case ForwardState::denied:
      return _("Not allowed");
    case ForwardState::failed:
      return _("Failed");
    case ForwardState::disabled:
      return _("Disabled");
    case ForwardState::inactive:
      break;
  }
  return _("Inactive");
}

std::string state(const PortView& port) {
  switch (port.state) {
    case DetectedState::forwarded:
      return _("Forwarded");
    case DetectedState::blocked:
      return _("Blocked");
    case DetectedState::ignored:
      return _("Not forwarded");
    case DetectedState::asking:
      return _("Asks for permission");
    case DetectedState::denied:
      break;
  }
  return _("Not allowed");
}

std::string trouble(const ForwardView& forward) {
  if (forward.state == ForwardState::active) return shown(forward.reason);
  std::string words = state(forward);
  // The reason would be the attribute.
  if (!forward.reason.empty() && forward.state != ForwardState::disabled)
    words += ": " + shown(forward.reason);
  if (forward.next_retry)
    if (const std::string time = clock_time(*forward.next_retry); !time.empty())
      words = format(_("%s (next try at %s)"), words.c_str(), time.c_str());
  return words;
}

std::string traffic(const ForwardRow& row) {
  if (!row.counters || row.forward.state == ForwardState::disabled) return {};
  const ForwardCounters& counters = *row.counters;
  std::string words = format(ngettext("%llu open", "%llu open", counters.connections),
                             static_cast<unsigned long long>(counters.connections));
  // Translators: bytes into the guest, and out of it
  if (counters.bytes_in && counters.bytes_out && *counters.bytes_in + *counters.bytes_out > 0)
    words = join({words, format(_("%s in"), size(*counters.bytes_in).c_str()),
                  format(_("%s out"), size(*counters.bytes_out).c_str())});
  return words;
}

const char* icon(const ForwardView& forward) {
  switch (forward.state) {
    case ForwardState::active:
      return "emblem-ok-symbolic";
    case ForwardState::waiting:
    case ForwardState::no_listener:
      return "content-loading-symbolic";
    case ForwardState::port_busy:
    case ForwardState::denied:
    case ForwardState::failed:
      return "dialog-warning-symbolic";
    case ForwardState::disabled:
    case ForwardState::inactive:
      break;
  }
  return "media-playback-pause-symbolic";
}

const char* icon(const PortView& port) {
  switch (port.state) {
    case DetectedState::blocked:
    case DetectedState::denied:
      return "action-unavailable-symbolic";
    case DetectedState::asking:
      return "dialog-question-symbolic";
    case DetectedState::forwarded:
    case DetectedState::ignored:
      break;
  }
  return "list-remove-symbolic";
}

const char* style(const ForwardView& forward) {
  switch (forward.state) {
    case ForwardState::active:
      return forward.proven && forward.reason.empty() ? "success" : "dim-label";
    case ForwardState::waiting:
    case ForwardState::no_listener:
      return "warning";
    case ForwardState::port_busy:
    case ForwardState::denied:
    case ForwardState::failed:
      return "error";
    case ForwardState::disabled:
    case ForwardState::inactive:
      break;
  }
  return "dim-label";
}

const char* style(const PortView& port) {
  return port.state == DetectedState::asking ? "warning" : "dim-label";
}

std::string details(const DomainRow& row) {
  const DomainView& domain = row.domain;
  return join({shown(row.daemon),
               domain.guest_agent == "connected"    ? _("The guest reports its ports")
               : domain.guest_agent == "qemu-agent" ? _("The QEMU guest agent reports ports")
                                                    : shown(domain.guest_agent_reason)});
}

std::string spoken(const Row& row) {
  if (const auto* domain = std::get_if<DomainRow>(&row.content))
    return join(
        {format(_("Virtual machine %s"), shown(domain->domain.name).c_str()), details(*domain)});
  if (const auto* note = std::get_if<NoteRow>(&row.content)) return note->text;
  if (const auto* forward = std::get_if<ForwardRow>(&row.content)) {
    const std::string problem = trouble(forward->forward);
    return join({title(forward->forward), url(forward->forward), details(*forward),
                 problem.empty() ? state(forward->forward) : problem, traffic(*forward)});
  }
  const PortView& port = std::get<PortRow>(row.content).port;
  return join({title(port), details(port), state(port), shown(port.reason)});
}

}  // namespace vf::panel
