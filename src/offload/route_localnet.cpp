// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/route_localnet.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/printable.h"
#include "offload/netlink_socket.h"

namespace vf {
namespace {

const nlattr* child(const nlattr* nest, std::uint16_t type) {
  const nlattr* found = nullptr;
  for_attributes(nest, [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == type) found = attribute;
  });
  return found;
}

// The numbers of a link's IPv4 settings, in the kernel's order from 1.
std::uint32_t route_localnet_of(const nlattr* families) {
  const nlattr* ipv4 = child(families, AF_INET);
  const nlattr* settings = ipv4 ? child(ipv4, IFLA_INET_CONF) : nullptr;
  constexpr std::size_t at = (IPV4_DEVCONF_ROUTE_LOCALNET - 1) * sizeof(std::uint32_t);
  std::uint32_t value = 0;
  if (settings && mnl_attr_get_payload_len(settings) >= at + sizeof value)
    std::memcpy(&value, static_cast<const char*>(mnl_attr_get_payload(settings)) + at,
                sizeof value);
  return value;
}

LocalnetLinks::Link parse(const nlmsghdr* message) {
  LocalnetLinks::Link link;
  const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
  link.index = static_cast<std::uint32_t>(info->ifi_index);
  for_attributes(message, sizeof *info, [&](const nlattr* attribute) {
    const std::uint16_t type = mnl_attr_get_type(attribute);
    if (type == IFLA_IFNAME && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
      link.name = mnl_attr_get_str(attribute);
    else if (type == IFLA_AF_SPEC)
      link.route_localnet = route_localnet_of(attribute);
  });
  return link;
}

// A request about links; `index` 0 is any.
nlmsghdr* begin(char* buffer, std::uint16_t type, std::uint16_t flags, std::uint32_t index) {
  nlmsghdr* request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = type;
  request->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg)));
  info->ifi_index = static_cast<int>(index);
  return request;
}

class RtnetlinkLinks final : public LocalnetLinks {
 public:
  explicit RtnetlinkLinks(NetlinkSocket socket) : socket_(std::move(socket)) {}

  Result<std::vector<Link>> all() override {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    std::vector<Link> links;
    const int error = socket_.ask(begin(buffer.data(), RTM_GETLINK, NLM_F_DUMP, 0),
                                  [&](const nlmsghdr* answer) { links.push_back(parse(answer)); });
    if (error != 0) return Unexpected(system_error(error, "links of the host"));
    return links;
  }

  Result<Link> find(const std::string& name) override {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = begin(buffer.data(), RTM_GETLINK, 0, 0);
    mnl_attr_put_strz(request, IFLA_IFNAME, name.c_str());
    Link link;
    const int error = socket_.ask(request, [&](const nlmsghdr* answer) { link = parse(answer); });
    if (error != 0) return Unexpected(system_error(error, "link " + printable(name, 64)));
    return link;
  }

  Result<void> set(std::uint32_t index, std::uint32_t route_localnet) override {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = begin(buffer.data(), RTM_SETLINK, NLM_F_ACK, index);
    nlattr* families = mnl_attr_nest_start(request, IFLA_AF_SPEC);
    nlattr* ipv4 = mnl_attr_nest_start(request, AF_INET);
    nlattr* settings = mnl_attr_nest_start(request, IFLA_INET_CONF);
    mnl_attr_put_u32(request, IPV4_DEVCONF_ROUTE_LOCALNET, route_localnet);
    mnl_attr_nest_end(request, settings);
    mnl_attr_nest_end(request, ipv4);
    mnl_attr_nest_end(request, families);
    const int error = socket_.ask(request);
    if (error != 0)
      return Unexpected(system_error(error, "route_localnet of link " + std::to_string(index)));
    return {};
  }

  std::optional<std::uint32_t> towards(const IpAddress& address) override {
    if (!address.is_v4()) return std::nullopt;
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = RTM_GETROUTE;
    request->nlmsg_flags = NLM_F_REQUEST;
    auto* route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
    route->rtm_family = AF_INET;
    route->rtm_dst_len = 32;
    mnl_attr_put(request, RTA_DST, address.bytes().size(), address.bytes().data());
    std::optional<std::uint32_t> link;
    socket_.ask(request, [&](const nlmsghdr* answer) {
      for_attributes(answer, sizeof(rtmsg), [&](const nlattr* attribute) {
        if (mnl_attr_get_type(attribute) == RTA_OIF &&
            mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
          link = mnl_attr_get_u32(attribute);
      });
    });
    return link;
  }

 private:
  NetlinkSocket socket_;
};

}  // namespace

Result<std::unique_ptr<LocalnetLinks>> open_localnet_links() {
  auto socket = NetlinkSocket::for_questions(NETLINK_ROUTE);
  if (!socket) return Unexpected(std::move(socket).error());
  return std::unique_ptr<LocalnetLinks>(std::make_unique<RtnetlinkLinks>(*std::move(socket)));
}

}  // namespace vf
