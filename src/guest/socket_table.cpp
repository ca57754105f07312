// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/socket_table.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "guest/netlink.h"

namespace vf::guest {
namespace {

// Of a socket, as the kernel numbers them: linux/tcp_states.h is not for programs.
constexpr std::uint32_t state_close = 7;  // a UDP socket that is not connected
constexpr std::uint32_t state_listen = 10;

// IPv4 in IPv6 is IPv4.
std::optional<IpAddress> address_from(int family, std::span<const std::uint8_t, 16> bytes) {
  if (family == AF_INET) return IpAddress::from_bytes(bytes.first(4));
  static constexpr std::array<std::uint8_t, 12> mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::ranges::equal(bytes.first(12), mapped)) return IpAddress::from_bytes(bytes.subspan(12));
  return IpAddress::from_bytes(bytes);
}

void take(const nlmsghdr& message, bool udp, std::vector<BoundSocket>& into) {
  inet_diag_msg found{};
  const auto payload = payload_of(message);
  if (message.nlmsg_type != SOCK_DIAG_BY_FAMILY || payload.size() < sizeof found) return;
  std::memcpy(&found, payload.data(), sizeof found);
  const auto port = Port::from(ntohs(found.id.idiag_sport));
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), found.id.idiag_src, bytes.size());
  const auto address = address_from(found.idiag_family, bytes);
  if (!port || !address) return;
  into.push_back({{udp, *address, *port}, found.idiag_uid, found.idiag_inode});
}

int dump_family(Netlink& netlink, int family, bool udp, std::vector<BoundSocket>& into) {
  inet_diag_req_v2 request{};
  request.sdiag_family = static_cast<std::uint8_t>(family);
  request.sdiag_protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
  request.idiag_states = 1u << (udp ? state_close : state_listen);
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&request);
  return netlink.ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, {bytes, sizeof request},
                     [&](const nlmsghdr& message) { take(message, udp, into); });
}

// A line of /proc/net/tcp and its kin; nothing where it is none. `state` is set where it is one.
std::optional<BoundSocket> parse_line(const char* line, int family, bool udp,
                                      std::uint32_t& state) {
  char address[33] = "";
  unsigned port = 0;
  unsigned uid = 0;
  unsigned long inode = 0;
  state = 0;
  if (std::sscanf(line, " %*u: %32[0-9A-F]:%4X %*32[0-9A-F]:%*4X %2X %*s %*s %*s %u %*s %lu",
                  address, &port, &state, &uid, &inode) != 5)
    return std::nullopt;
  // Words of 32 bits in the order of this machine.
  std::array<std::uint8_t, 16> bytes{};
  const std::size_t words = family == AF_INET ? 1 : 4;
  if (std::strlen(address) != 8 * words) return std::nullopt;
  for (std::size_t at = 0; at < words; ++at) {
    unsigned word = 0;
    if (std::sscanf(address + 8 * at, "%8X", &word) != 1) return std::nullopt;
    std::memcpy(bytes.data() + 4 * at, &word, 4);
  }
  const auto number = Port::from(port);
  const auto bound = address_from(family, bytes);
  if (!number || !bound) return std::nullopt;
  return BoundSocket{{udp, *bound, *number}, uid, static_cast<std::uint32_t>(inode)};
}

// Those of TCP that listen come first in the file: what follows is not read.
bool read_file(const char* path, int family, bool udp, std::vector<BoundSocket>& into) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "re"), std::fclose);
  if (!file) return false;
  char line[512];
  while (std::fgets(line, sizeof line, file.get())) {
    std::uint32_t state = 0;
    const auto found = parse_line(line, family, udp, state);
    if (found && state == (udp ? state_close : state_listen))
      into.push_back(*found);
    else if (found && !udp)
      break;
  }
  return true;
}

}  // namespace

bool KernelSocketTable::dump(bool udp, std::vector<BoundSocket>& into) {
  const auto before = into.size();
  // Kept open while it is in use only: an idle agent needs no buffers.
  Netlink netlink(NETLINK_SOCK_DIAG);
  int failed = dump_family(netlink, AF_INET, udp, into);
  if (failed == 0) {
    // Without IPv6 in the kernel there is nothing of it to tell.
    failed = dump_family(netlink, AF_INET6, udp, into);
    if (failed == ENOENT || failed == EAFNOSUPPORT) failed = 0;
  }
  if (failed == 0) {
    source_ = "sock_diag";
    return true;
  }
  into.resize(before, BoundSocket{});
  source_ = "/proc/net";
  const bool have4 = read_file(udp ? "/proc/net/udp" : "/proc/net/tcp", AF_INET, udp, into);
  const bool have6 = read_file(udp ? "/proc/net/udp6" : "/proc/net/tcp6", AF_INET6, udp, into);
  if (!have4 && !have6) source_ = "nothing";
  return have4 || have6;
}

}  // namespace vf::guest
