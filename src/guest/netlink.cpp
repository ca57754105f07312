// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace vf::guest {
namespace {

constexpr std::size_t buffer_bytes = 32 * 1024;

}  // namespace

std::span<const std::uint8_t> payload_of(const nlmsghdr& message) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&message);
  if (message.nlmsg_len < NLMSG_HDRLEN) return {};
  return {bytes + NLMSG_HDRLEN, message.nlmsg_len - NLMSG_HDRLEN};
}

Netlink::Netlink(int family) : socket_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family)) {
  // The kernel answers at once; this is against one that does not.
  const timeval patience{2, 0};
  if (socket_) setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

int Netlink::ask(std::uint16_t type, std::uint16_t flags, std::span<const std::uint8_t> payload,
                 const std::function<void(const nlmsghdr&)>& each) {
  if (!socket_) return EAFNOSUPPORT;
  std::vector<std::uint8_t> question(NLMSG_SPACE(payload.size()));
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(payload.size()));
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  header.nlmsg_seq = ++sequence_;
  std::memcpy(question.data(), &header, sizeof header);
  std::memcpy(question.data() + NLMSG_HDRLEN, payload.data(), payload.size());
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(socket_.get(), question.data(), question.size(), 0,
             reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0)
    return errno;

  alignas(nlmsghdr) std::uint8_t answer[buffer_bytes];
  for (;;) {
    const ssize_t got = recv(socket_.get(), answer, sizeof answer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    auto left = static_cast<std::size_t>(got);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(answer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_seq != sequence_) continue;  // of a question that was given up
      if (message->nlmsg_type == NLMSG_DONE) return 0;
      if (message->nlmsg_type == NLMSG_ERROR) {
        nlmsgerr error{};
        if (payload_of(*message).size() < sizeof error) return EPROTO;
        std::memcpy(&error, payload_of(*message).data(), sizeof error);
        return -error.error;
      }
      each(*message);
      if (!(message->nlmsg_flags & NLM_F_MULTI)) return 0;
    }
  }
}

}  // namespace vf::guest
