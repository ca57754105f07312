// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/definition.h"

#include <algorithm>
#include <array>

namespace vf {
namespace {

struct SideText {
  std::string operator()(std::monostate) const { return "any"; }
  std::string operator()(const PortRange& ports) const { return ports.text(); }
  std::string operator()(const SocketPath& socket) const { return socket.path; }
};

std::string with_address(const std::optional<IpAddress>& address, std::string side) {
  return address ? address->text() + '=' + side : side;
}

constexpr std::array<std::uint16_t, 16> http_ports{80,   3000, 3001, 4000, 4200, 5000, 5173, 8000,
                                                   8001, 8008, 8080, 8081, 8088, 8888, 9000, 9090};

}  // namespace

std::string ForwardDefinition::identity() const {
  if (!name.empty()) return name;
  std::string identity(text(protocol));
  identity += ':' + with_address(host_address, std::visit(SideText{}, host));
  identity += ':' + with_address(guest_address, std::visit(SideText{}, guest));
  return identity;
}

std::string_view usual_scheme(Port guest_port) {
  const std::uint16_t number = guest_port.number();
  if (number == 443 || number == 8443) return "https";
  return std::find(http_ports.begin(), http_ports.end(), number) != http_ports.end() ? "http" : "";
}

}  // namespace vf
