// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "loopback.h"
#include "wire/relay.h"

namespace vf::test {

// A daemon's end of the control connection, blocking.
class Control {
 public:
  explicit Control(const std::string& path) : fd_(connect_to(path)) {}

  bool connected() const { return static_cast<bool>(fd_); }
  void send(const RelayPacket& packet) {
    ASSERT_TRUE(packet.fds.empty());
    ::send(fd_.get(), packet.bytes.data(), packet.bytes.size(), MSG_NOSIGNAL);
  }
  void send(RelayMessage message) {
    RelayPacket packet;
    ASSERT_TRUE(packet.append(message));
    send(packet);
  }
  void send_raw(const std::string& bytes) {
    ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  void send_with_fds(RelayMessage message) {
    RelayPacket packet;
    ASSERT_TRUE(packet.append(message));
    iovec part{packet.bytes.data(), packet.bytes.size()};
    std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = packet.fds.at(0).get();
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    EXPECT_GT(sendmsg(fd_.get(), &header, MSG_NOSIGNAL), 0);
  }
  // Empty at the end of the connection.
  std::vector<RelayMessage> receive() {
    std::vector<std::uint8_t> bytes(relay_packet_max_bytes);
    errno = 0;  // which an end leaves as it is
    const ssize_t length = recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (length <= 0) return {};
    bytes.resize(static_cast<std::size_t>(length));
    auto messages = decode_relay_packet(bytes, {});
    EXPECT_TRUE(messages);
    return messages ? std::move(*messages) : std::vector<RelayMessage>();
  }
  template <typename T>
  bool receives() {
    const auto messages = receive();
    return messages.size() == 1 && std::holds_alternative<T>(messages[0]);
  }
  bool greet() {
    send(RelayHello{});
    return receives<RelayHello>();
  }
  // True when the relay hung up, within the deadline; what it sent before is skipped.
  bool dropped() {
    while (!receive().empty()) {
    }
    return errno != EAGAIN;
  }

  static Fd connect_to(const std::string& path) {
    Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    set_deadline(fd.get());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return Fd();
    return fd;
  }

 private:
  Fd fd_;
};

}  // namespace vf::test
