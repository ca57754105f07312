// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <functional>
#include <span>
#include <utility>

#include "plugin/netlink_messages.h"

namespace vf {
namespace {

constexpr std::size_t buffer_size = 32768;
constexpr int receive_space = 4 << 20;
constexpr int messages_at_once = 256;

constexpr unsigned group(unsigned number) {
  return 1u << (number - 1);
}

constexpr unsigned groups = group(RTNLGRP_LINK) | group(RTNLGRP_NEIGH) |
                            group(RTNLGRP_IPV4_IFADDR) | group(RTNLGRP_IPV6_IFADDR) |
                            group(RTNLGRP_IPV4_ROUTE) | group(RTNLGRP_IPV6_ROUTE);

}  // namespace

class Netlink::Socket {
 public:
  explicit Socket(mnl_socket* socket) : socket_(socket) {}
  ~Socket() { mnl_socket_close(socket_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  static std::unique_ptr<Socket> open(unsigned flags, unsigned multicast_groups) {
    mnl_socket* socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | static_cast<int>(flags));
    if (!socket) return nullptr;
    auto owner = std::make_unique<Socket>(socket);
    if (mnl_socket_bind(socket, multicast_groups, MNL_SOCKET_AUTOPID) < 0) return nullptr;
    return owner;
  }

  int fd() const { return mnl_socket_get_fd(socket_); }
  mnl_socket* get() const { return socket_; }

  // Sends `request` and calls `each` for every message of the answer. The errno value that the
  // kernel answered, 0 when it went well.
  int ask(nlmsghdr* request, const std::function<void(const nlmsghdr*)>& each) {
    request->nlmsg_seq = ++sequence_;
    const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    const bool acknowledged = dump || (request->nlmsg_flags & NLM_F_ACK) != 0;
    if (mnl_socket_sendto(socket_, request, request->nlmsg_len) < 0) return errno;
    while (true) {
      const ssize_t length = mnl_socket_recvfrom(socket_, buffer_.data(), buffer_.size());
      if (length < 0 && errno == EINTR) continue;
      if (length < 0) return errno;
      auto left = static_cast<int>(length);
      const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
      for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
        if (message->nlmsg_seq != sequence_) continue;
        if (message->nlmsg_type == NLMSG_DONE) return 0;
        if (message->nlmsg_type == NLMSG_ERROR) {
          const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
          return -error->error;
        }
        each(message);
        if (!acknowledged) return 0;
      }
    }
  }

 private:
  mnl_socket* socket_;
  std::uint32_t sequence_ = 0;
  alignas(nlmsghdr) std::array<char, buffer_size> buffer_;
};

Netlink::Netlink(std::unique_ptr<Socket> events, std::unique_ptr<Socket> questions)
    : events_(std::move(events)), questions_(std::move(questions)) {}
Netlink::~Netlink() = default;

Result<std::unique_ptr<Netlink>> Netlink::open() {
  auto events = Socket::open(SOCK_NONBLOCK, groups);
  if (!events) return Unexpected(system_error(errno, "rtnetlink subscription"));
  auto questions = Socket::open(0, 0);
  if (!questions) return Unexpected(system_error(errno, "rtnetlink socket"));
  // Without the privilege the system's limit applies.
  if (setsockopt(events->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_space, sizeof receive_space) <
      0)
    setsockopt(events->fd(), SOL_SOCKET, SO_RCVBUF, &receive_space, sizeof receive_space);
  return std::unique_ptr<Netlink>(new Netlink(std::move(events), std::move(questions)));
}

int Netlink::fd() const {
  return events_->fd();
}

void Netlink::receive(Observer& observer) {
  alignas(nlmsghdr) std::array<char, buffer_size> buffer;
  for (int i = 0; i < messages_at_once; ++i) {
    const ssize_t length = mnl_socket_recvfrom(events_->get(), buffer.data(), buffer.size());
    if (length < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOBUFS) observer.overrun();
      return;
    }
    auto left = static_cast<int>(length);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
      report(message, observer);
  }
}

NetworkState Netlink::read_all() {
  struct Collector final : Observer {
    NetworkState state;
    void link_changed(const Link& link) override { state.links.push_back(link); }
    void link_removed(std::uint32_t) override {}
    void host_address_added(const HostAddress& address) override {
      state.addresses.push_back(address);
    }
    void host_address_removed(const HostAddress&) override {}
    void neighbour_changed(const Neighbour& neighbour) override {
      state.neighbours.push_back(neighbour);
    }
    void forwarding_changed(const std::string&) override {}
    void routes_changed() override {}
    void overrun() override {}
  } collector;
  for (const std::uint16_t type : {RTM_GETLINK, RTM_GETADDR, RTM_GETNEIGH}) {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = type;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    // ndmsg, ifinfomsg and ifaddrmsg begin with the family: any.
    mnl_nlmsg_put_extra_header(request, type == RTM_GETLINK ? sizeof(ifinfomsg) : sizeof(ndmsg));
    questions_->ask(request, [&](const nlmsghdr* message) { report(message, collector); });
  }
  return std::move(collector.state);
}

std::optional<std::uint32_t> Netlink::direct_route(const IpAddress& address) {
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETROUTE;
  request->nlmsg_flags = NLM_F_REQUEST;
  auto* route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
  const auto bytes = address.bytes();
  route->rtm_family = address.is_v4() ? AF_INET : AF_INET6;
  route->rtm_dst_len = static_cast<unsigned char>(bytes.size() * 8);
  mnl_attr_put(request, RTA_DST, bytes.size(), bytes.data());
  std::optional<std::uint32_t> link;
  questions_->ask(request, [&](const nlmsghdr* answer) { link = parse_direct_route(answer); });
  return link;
}

std::vector<std::uint32_t> Netlink::ports_of(std::uint32_t bridge, const std::string& mac) {
  std::vector<std::uint32_t> ports;
  const auto bytes = parse_mac(mac);
  if (!bytes) return ports;
  const auto collect = [&](const nlmsghdr* answer) {
    const auto entry = parse_forwarding(answer);
    if (entry && entry->mac == mac && entry->bridge == bridge && !entry->local)
      ports.push_back(entry->port);
  };
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETNEIGH;
  request->nlmsg_flags = NLM_F_REQUEST;
  auto* entry = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ndmsg)));
  entry->ndm_family = AF_BRIDGE;
  mnl_attr_put(request, NDA_LLADDR, bytes->size(), bytes->data());
  mnl_attr_put_u32(request, NDA_MASTER, bridge);
  if (questions_->ask(request, collect) == 0 && !ports.empty()) return ports;
  if (!filters_vlans(bridge)) return ports;
  // Such a bridge learns per VLAN, and the question above is about none.
  request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETNEIGH;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  entry = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ndmsg)));
  entry->ndm_family = AF_BRIDGE;
  questions_->ask(request, collect);
  return ports;
}

bool Netlink::filters_vlans(std::uint32_t bridge) {
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETLINK;
  request->nlmsg_flags = NLM_F_REQUEST;
  auto* link = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg)));
  link->ifi_index = static_cast<int>(bridge);
  bool filters = false;
  questions_->ask(request, [&](const nlmsghdr* answer) { filters = parse_vlan_filter(answer); });
  return filters;
}

void Netlink::probe(const Place& place) {
  const auto request_state = [&](std::uint16_t state, std::uint8_t flags, int create) {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = RTM_NEWNEIGH;
    request->nlmsg_flags =
        static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE | create);
    auto* entry = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ndmsg)));
    const auto bytes = place.address.bytes();
    entry->ndm_family = place.address.is_v4() ? AF_INET : AF_INET6;
    entry->ndm_ifindex = static_cast<int>(place.link);
    entry->ndm_state = state;
    entry->ndm_flags = flags;
    mnl_attr_put(request, NDA_DST, bytes.size(), bytes.data());
    return questions_->ask(request, [](const nlmsghdr*) {}) == 0;
  };
  // A known neighbour is asked directly, even when the kernel saw no need yet; else who has the
  // address is asked for as if something were to be sent there.
  if (!request_state(NUD_PROBE, 0, 0)) request_state(NUD_NONE, NTF_USE, NLM_F_CREATE);
}

}  // namespace vf
