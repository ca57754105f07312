// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/shown.h"

#include <glib.h>

namespace vf {
namespace {

std::string clock_time(std::int64_t unix_seconds) {
  GDateTime* time = g_date_time_new_from_unix_local(unix_seconds);
  if (!time) return {};
  gchar* formatted = g_date_time_format(time, "%H:%M:%S");
  const std::string text = formatted ? formatted : "";
  g_free(formatted);
  g_date_time_unref(time);
  return text;
}

}  // namespace

bool is_shown(const ForwardView& forward, bool all) {
  return all || (forward.live && forward.state != ForwardState::inactive);
}

std::string host_side(const ForwardView& forward) {
  if (!forward.url.empty()) return forward.url;
  if (forward.host_port) return forward_url(forward, "");
  if (!forward.host_socket.empty()) return forward.host_socket;
  return "-";
}

std::string host_side(const ForwardView& forward, const ForwardDefinition& definition) {
  ForwardView served = forward;
  served.host_port = forward.requested_port;
  served.host_addresses = {definition.host_address.value_or(IpAddress::loopback4())};
  if (served.host_port && forward.protocol == Protocol::tcp)
    served.url = forward_url(served, !definition.scheme.empty() || !forward.guest_port
                                         ? std::string_view(definition.scheme)
                                         : usual_scheme(*forward.guest_port));
  return host_side(served);
}

std::string guest_side(const ForwardView& forward) {
  std::string side = forward.guest_port             ? std::to_string(forward.guest_port->number())
                     : forward.guest_socket.empty() ? "-"
                                                    : forward.guest_socket;
  if (forward.protocol != Protocol::tcp) side += '/' + std::string(text(forward.protocol));
  return side;
}

std::string way(const ForwardView& forward) {
  if (!forward.transport) return "-";
  std::string way(text(*forward.transport));
  if (forward.offload != Offload::none && forward.offload != Offload::automatic)
    way += '+' + std::string(text(forward.offload));
  return way;
}

std::string state_words(const ForwardView& forward, bool differ) {
  std::string words(text(forward.state));
  if (forward.state == ForwardState::active && !forward.proven) words += ", unproven";
  if (differ && forward.live != forward.config)
    words += forward.live ? ", live only" : ", config only";
  return words;
}

std::string reason_words(const ForwardView& forward) {
  std::string words = forward.reason;
  if (forward.next_retry && !words.empty())
    if (const std::string time = clock_time(*forward.next_retry); !time.empty())
      words += " (next try " + time + ')';
  return words;
}

std::string port_words(const PortView& port) {
  std::string words = port.port ? std::to_string(port.port->number()) : "-";
  if (port.protocol != Protocol::tcp) words += '/' + std::string(text(port.protocol));
  return words;
}

std::string name_words(const ForwardView& forward) {
  if (!forward.name.empty()) return forward.name;
  return forward.process && !forward.process->name.empty() ? forward.process->name : "-";
}

const char* state_color(DetectedState state) {
  switch (state) {
    case DetectedState::forwarded:
      return "32";
    case DetectedState::asking:
      return "33";
    case DetectedState::blocked:
    case DetectedState::denied:
      return "31";
    case DetectedState::ignored:
      break;
  }
  return "2";
}

std::string agent_reason(const DomainView& domain) {
  const bool no_device = domain.guest_agent == "no-vsock" && domain.guest_agent_reason.empty();
  return no_device ? "the domain has no <vsock> device" : domain.guest_agent_reason;
}

const char* state_color(const ForwardView& forward) {
  switch (forward.state) {
    case ForwardState::active:
      return "32";
    case ForwardState::waiting:
    case ForwardState::no_listener:
      return "33";
    case ForwardState::port_busy:
    case ForwardState::denied:
    case ForwardState::failed:
      return "31";
    case ForwardState::disabled:
    case ForwardState::inactive:
      break;
  }
  return "2";
}

}  // namespace vf
