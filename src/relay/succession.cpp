// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/succession.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace vf {
namespace {

constexpr timeval deadline{30, 0};

}  // namespace

Result<Succession> Succession::from(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return Unexpected(ErrorCode::invalid_argument, "control socket: " + path + " is no such path");
  path.copy(address.sun_path, path.size());
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return Unexpected(system_error(errno, "socket"));
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return Unexpected(system_error(errno, path));
  Succession succession(std::move(socket));
  if (auto taken = succession.run(); !taken) return Unexpected(std::move(taken).error());
  return succession;
}

Result<void> Succession::run() {
  send(RelayHello{relay_protocol_version, relay_hello_successor,
                  static_cast<std::uint32_t>(getpid())});
  send(RelayTakeOver{});
  for (bool greeted = false, complete = false; !complete;) {
    auto messages = receive();
    if (!messages) return Unexpected(std::move(messages).error());
    for (RelayMessage& message : *messages) {
      if (const auto* hello = std::get_if<RelayHello>(&message)) {
        if (hello->version != relay_protocol_version)
          return Unexpected(ErrorCode::not_supported,
                            "the relay that runs speaks protocol " +
                                std::to_string(hello->version) + ", this one " +
                                std::to_string(relay_protocol_version) + ": restart it");
        greeted = true;
      } else if (auto* control = std::get_if<RelayControlSocket>(&message)) {
        control_socket_ = std::move(control->listeners.at(0));
      } else if (auto* held = std::get_if<RelayHeld>(&message)) {
        forwards_.push_back(std::move(*held));
      } else if (auto* kept = std::get_if<RelayKept>(&message)) {
        kept_.push_back(std::move(*kept));
      } else {
        complete = std::holds_alternative<RelayListEnd>(message) && greeted && control_socket_;
        if (!complete)
          return Unexpected(ErrorCode::failed, "the relay that runs sent a message out of order");
      }
    }
  }
  return {};
}

void Succession::retire_predecessor() {
  send(RelayRetire{});
  socket_.reset();
}

void Succession::send(RelayMessage message) {
  RelayPacket packet;
  if (!packet.append(message)) return;
  // Where it fails the next receive() says why.
  [[maybe_unused]] const ssize_t sent =
      ::send(socket_.get(), packet.bytes.data(), packet.bytes.size(), MSG_NOSIGNAL);
}

Result<std::vector<RelayMessage>> Succession::receive() {
  std::vector<std::uint8_t> bytes(relay_packet_max_bytes);
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(relay_packet_max_fds * sizeof(int))> control;
  iovec part{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t length = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
  if (length < 0) return Unexpected(system_error(errno, "the relay that runs"));
  std::vector<Fd> fds;
  for (cmsghdr* one = CMSG_FIRSTHDR(&header); one; one = CMSG_NXTHDR(&header, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(one) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  if (length == 0)
    return Unexpected(ErrorCode::failed, "the relay that runs does not give its forwards away");
  if (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC))
    return Unexpected(ErrorCode::failed, "too few descriptors for the forwards");
  bytes.resize(static_cast<std::size_t>(length));
  return decode_relay_packet(bytes, std::move(fds));
}

Result<Background> Background::enter() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return Unexpected(system_error(errno, "pipe2"));
  Fd waits(ends[0]);
  Fd says(ends[1]);
  const pid_t child = fork();
  if (child < 0) return Unexpected(system_error(errno, "fork"));
  if (child == 0) {
    setsid();
    return Background(std::move(says));
  }
  says.reset();
  char byte = 0;
  if (read(waits.get(), &byte, 1) == 1) _exit(0);
  int status = 0;
  waitpid(child, &status, 0);
  _exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

void Background::serving() {
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(waiting_.get(), &byte, 1);
  waiting_.reset();
}

}  // namespace vf
