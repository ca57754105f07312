// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/netlink_socket.h"

#include <libmnl/libmnl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vf {
namespace {

// A dump's messages come in pieces of at most this size.
constexpr std::size_t buffer_size = 32768;
constexpr int event_space = 4 << 20;
constexpr int receives_at_once = 1024;

int call_each(const nlattr* attribute, void* each) noexcept {
  (*static_cast<const EachAttribute*>(each))(attribute);
  return MNL_CB_OK;
}

}  // namespace

void NetlinkSocket::Close::operator()(mnl_socket* socket) const {
  mnl_socket_close(socket);
}

Result<NetlinkSocket> NetlinkSocket::open(int family, int flags, std::uint32_t groups) {
  NetlinkSocket opened(mnl_socket_open2(family, SOCK_CLOEXEC | flags));
  if (!opened.socket_ || mnl_socket_bind(opened.socket_.get(), groups, MNL_SOCKET_AUTOPID) < 0)
    return Unexpected(system_error(errno, "netlink socket"));
  return opened;
}

Result<NetlinkSocket> NetlinkSocket::for_questions(int family) {
  return open(family, 0, 0);
}

Result<NetlinkSocket> NetlinkSocket::for_events(int family, std::uint32_t groups) {
  auto opened = open(family, SOCK_NONBLOCK, groups);
  // Without the privilege the system's limit applies.
  if (opened &&
      setsockopt(opened->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &event_space, sizeof event_space) < 0)
    setsockopt(opened->fd(), SOL_SOCKET, SO_RCVBUF, &event_space, sizeof event_space);
  return opened;
}

int NetlinkSocket::fd() const {
  return mnl_socket_get_fd(socket_.get());
}

int NetlinkSocket::ask(nlmsghdr* request, const Each& each) {
  request->nlmsg_seq = ++sequence_;
  const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  const bool acknowledged = dump || (request->nlmsg_flags & NLM_F_ACK) != 0;
  if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) return errno;
  alignas(nlmsghdr) std::array<char, buffer_size> buffer;
  while (true) {
    const ssize_t length = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return errno;
    auto left = static_cast<int>(length);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;
      if (message->nlmsg_type == NLMSG_DONE) {
        // A dump that failed on its way says so here.
        int status = 0;
        if (mnl_nlmsg_get_payload_len(message) >= sizeof status)
          std::memcpy(&status, mnl_nlmsg_get_payload(message), sizeof status);
        return status < 0 ? -status : 0;
      }
      if (message->nlmsg_type == NLMSG_ERROR)
        return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
      each(message);
      if (!acknowledged) return 0;
    }
  }
}

bool NetlinkSocket::receive(const Each& each) {
  alignas(nlmsghdr) std::array<char, buffer_size> buffer;
  bool complete = true;
  for (int i = 0; i < receives_at_once; ++i) {
    const ssize_t length = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    if (length < 0 && errno == EAGAIN) break;
    if (length < 0) {
      // EINTR aside, a message was lost or did not fit.
      complete = complete && errno == EINTR;
      continue;
    }
    auto left = static_cast<int>(length);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
      each(message);
  }
  return complete;
}

void for_attributes(const nlmsghdr* message, std::size_t header, const EachAttribute& each) {
  if (mnl_nlmsg_get_payload_len(message) >= header)
    mnl_attr_parse(message, static_cast<unsigned>(header), call_each,
                   const_cast<EachAttribute*>(&each));
}

void for_attributes(const nlattr* nest, const EachAttribute& each) {
  mnl_attr_parse_nested(nest, call_each, const_cast<EachAttribute*>(&each));
}

}  // namespace vf
