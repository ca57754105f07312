// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/agent_call.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vf {
namespace {

std::array<std::uint8_t, GuestRequest::bytes> request_of(const AgentAccess::Way& way,
                                                         GuestService service,
                                                         const AgentEndpoint& target) {
  GuestRequest request;
  request.service = service;
  request.token = way.token;
  request.target = target;
  return encode(request);
}

int errno_of(const GuestReply& reply) {
  switch (reply.status) {
    case GuestStatus::ok:
      return 0;
    case GuestStatus::version:
      return EPROTONOSUPPORT;
    case GuestStatus::wrong_token:
      return ESTALE;
    case GuestStatus::denied:
      return EACCES;
    case GuestStatus::busy:
      return EBUSY;
    case GuestStatus::unreachable:
      // None of those that say something else here.
      for (const int other : {0, EAGAIN, EINPROGRESS, ENOTCONN, ESTALE, EBUSY})
        if (reply.error_number == other) return EHOSTUNREACH;
      return reply.error_number;
    case GuestStatus::malformed:
    case GuestStatus::not_privileged:
      break;
  }
  return EPROTO;
}

}  // namespace

AgentCall::AgentCall(AgentAccess::Way way, GuestService service, const AgentEndpoint& target)
    : way_(std::move(way)), request_(request_of(way_, service, target)) {}

void AgentCall::say(int fd, std::span<const std::uint8_t> client) {
  const std::span<const std::uint8_t> parts[] = {
      std::span(request_).subspan(said_request_), unsaid(),
      client.subspan(std::min(client.size(), said_client_))};
  std::array<iovec, 3> vectors;
  std::size_t count = 0;
  for (const auto part : parts)
    if (!part.empty()) vectors[count++] = {const_cast<std::uint8_t*>(part.data()), part.size()};
  if (count == 0) return;
  msghdr header{};
  header.msg_iov = vectors.data();
  header.msg_iovlen = count;
  const ssize_t sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) return;
  auto left = static_cast<std::size_t>(sent);
  std::size_t* const said[] = {&said_request_, &said_lead_in_, &said_client_};
  for (std::size_t i = 0; i < std::size(parts); ++i) {
    const std::size_t taken = std::min(left, parts[i].size());
    *said[i] += taken;
    left -= taken;
  }
}

int AgentCall::answer(int fd) {
  while (replied_ < reply_.size()) {
    const ssize_t got = recv(fd, reply_.data() + replied_, reply_.size() - replied_, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return EAGAIN;
    if (got <= 0) return ENOTCONN;
    replied_ += static_cast<std::size_t>(got);
  }
  const auto reply = decode_guest_reply(reply_);
  return reply ? errno_of(*reply) : EPROTO;
}

bool agent_is_gone(int fd) {
  return send(fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR;
}

}  // namespace vf
