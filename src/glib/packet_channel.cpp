// SPDX-License-Identifier: LGPL-2.1-or-later

#include "glib/packet_channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace vf {
namespace {

// Packets taken in one go, so that a busy peer leaves the context to others.
constexpr int receive_batch = 16;
// Too many descriptors in flight for this user: nothing tells when that ends.
constexpr std::chrono::milliseconds in_flight_delay{5};

std::vector<Fd> descriptors_of(msghdr& header) {
  std::vector<Fd> fds;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

PacketChannel::PacketChannel(Fd socket, Limits limits, OnPacket on_packet, OnClosed on_closed,
                             OnDrained on_drained, GMainContext* context)
    : socket_(std::move(socket)),
      limits_(limits),
      on_packet_(std::move(on_packet)),
      on_closed_(std::move(on_closed)),
      on_drained_(std::move(on_drained)),
      context_(context),
      receive_bytes_(limits.packet_bytes),
      receive_control_(CMSG_SPACE(limits.packet_fds * sizeof(int))) {
  readable_ = watch_fd(
      socket_.get(), G_IO_IN, [this](GIOCondition) { receive(); }, context_);
}

PacketChannel::~PacketChannel() {
  *alive_ = false;
}

void PacketChannel::send(std::vector<std::uint8_t> bytes, std::vector<Fd> fds) {
  if (closing_) return;
  Packet packet{std::move(bytes), std::move(fds)};
  if (queue_.empty() && send_now(packet) != Sent::later) return;
  queued_bytes_ += packet.bytes.size();
  queue_.push_back(std::move(packet));
  if (queued_bytes_ > limits_.queued_bytes) close_later("it does not read what it is sent");
}

PacketChannel::Sent PacketChannel::send_now(const Packet& packet) {
  iovec part{const_cast<std::uint8_t*>(packet.bytes.data()), packet.bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  std::vector<std::byte> control;
  if (!packet.fds.empty()) {
    const std::size_t size = packet.fds.size() * sizeof(int);
    control.resize(CMSG_SPACE(size));
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    for (std::size_t i = 0; i < packet.fds.size(); ++i) {
      const int fd = packet.fds[i].get();
      std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  for (;;) {
    if (sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return Sent::yes;
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS) {
      wait_to_send(errno);
      return Sent::later;
    }
    close_later(system_error(errno, "sendmsg").message);
    return Sent::failed;
  }
}

void PacketChannel::wait_to_send(int error_number) {
  if (writable_) return;
  const auto resume = [this] {
    writable_.reset();
    flush();
  };
  writable_ = error_number == EAGAIN
                  ? watch_fd(
                        socket_.get(), G_IO_OUT, [resume](GIOCondition) { resume(); }, context_)
                  : after(in_flight_delay, resume, context_);
}

void PacketChannel::flush() {
  while (!queue_.empty()) {
    if (send_now(queue_.front()) != Sent::yes) return;
    queued_bytes_ -= queue_.front().bytes.size();
    queue_.pop_front();
  }
  if (!on_drained_) return;
  const OnDrained on_drained = on_drained_;
  on_drained();
}

void PacketChannel::receive() {
  const std::shared_ptr<bool> alive = alive_;
  const OnPacket on_packet = on_packet_;
  for (int i = 0; i < receive_batch && *alive && !closing_; ++i) {
    iovec part{receive_bytes_.data(), receive_bytes_.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = receive_control_.data();
    header.msg_controllen = receive_control_.size();
    const ssize_t length = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) return;
    if (length < 0) return close_later(system_error(errno, "recvmsg").message);
    std::vector<Fd> fds = descriptors_of(header);
    if (length == 0) return close_later("it closed the connection");
    if (header.msg_flags & MSG_CTRUNC) return close_later("descriptors of a packet were lost");
    if (header.msg_flags & MSG_TRUNC) return close_later("a packet is too long");
    on_packet(std::span(receive_bytes_).first(static_cast<std::size_t>(length)), std::move(fds));
  }
}

void PacketChannel::close_later(std::string reason) {
  if (closing_) return;
  readable_.reset();
  writable_.reset();
  queue_.clear();
  queued_bytes_ = 0;
  closing_ = after(
      std::chrono::milliseconds(0),
      [on_closed = on_closed_, reason = std::move(reason)] { on_closed(reason); }, context_);
}

}  // namespace vf
