// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/own_address.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "guest/netlink.h"

namespace vf::guest {
namespace {

template <typename T>
void append(std::vector<std::uint8_t>& bytes, const T& value) {
  const auto at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// The interface that has the link-local address, or 0.
std::uint32_t interface_of(const IpAddress& address) {
  ifaddrmsg all{};
  all.ifa_family = AF_INET6;
  std::vector<std::uint8_t> question;
  append(question, all);
  std::uint32_t found = 0;
  const auto look_at = [&](const nlmsghdr& message) {
    const auto payload = payload_of(message);
    if (message.nlmsg_type != RTM_NEWADDR || payload.size() < sizeof all) return;
    ifaddrmsg one{};
    std::memcpy(&one, payload.data(), sizeof one);
    if (one.ifa_family != AF_INET6) return;
    auto left = static_cast<int>(payload.size() - sizeof all);
    const auto* attribute = reinterpret_cast<const rtattr*>(payload.data() + sizeof all);
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
      if (attribute->rta_type == IFA_ADDRESS && RTA_PAYLOAD(attribute) == 16 &&
          std::memcmp(attribute + 1, address.bytes().data(), 16) == 0)
        found = one.ifa_index;
  };
  Netlink(NETLINK_ROUTE).ask(RTM_GETADDR, NLM_F_DUMP, question, look_at);
  return found;
}

}  // namespace

bool is_own_address(IpAddress& address) {
  if (address.is_loopback()) return true;
  if (!address.is_v4() && address.is_link_local()) {
    const std::uint32_t interface = interface_of(address);
    if (interface == 0) return false;
    address = *IpAddress::from_bytes(address.bytes(), interface);
    return true;
  }
  rtmsg route{};
  route.rtm_family = address.is_v4() ? AF_INET : AF_INET6;
  route.rtm_dst_len = address.is_v4() ? 32 : 128;
  const auto bytes = address.bytes();
  rtattr destination{};
  destination.rta_len = static_cast<unsigned short>(RTA_LENGTH(bytes.size()));
  destination.rta_type = RTA_DST;
  std::vector<std::uint8_t> question;
  append(question, route);
  append(question, destination);
  question.insert(question.end(), bytes.begin(), bytes.end());

  bool own = false;
  const auto look_at = [&own](const nlmsghdr& message) {
    const auto payload = payload_of(message);
    rtmsg answer{};
    if (message.nlmsg_type != RTM_NEWROUTE || payload.size() < sizeof answer) return;
    std::memcpy(&answer, payload.data(), sizeof answer);
    own = answer.rtm_type == RTN_LOCAL;
  };
  return Netlink(NETLINK_ROUTE).ask(RTM_GETROUTE, 0, question, look_at) == 0 && own;
}

}  // namespace vf::guest
