// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/delivery.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <span>

#include "base/fd.h"
#include "base/unix_address.h"

namespace vf {
namespace {

constexpr std::chrono::milliseconds retry_delay{2};

Unexpected too_late(const std::string& path) {
  return Unexpected(ErrorCode::failed, "no answer on " + path + " in time");
}

Result<Fd> connect_to(const std::string& path, bool patient, const Deadline& deadline) {
  const auto address = UnixAddress::from(path);
  if (!address) return Unexpected(ErrorCode::no_daemon, path + ": not a usable socket path");
  while (true) {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) return Unexpected(system_error(errno, "socket"));
    if (connect(socket.get(), address->get(), address->length) == 0) return socket;
    // EAGAIN: the listener's backlog is full. A unix socket never says EINPROGRESS.
    const int error = errno;
    const bool absent = error == ENOENT || error == ECONNREFUSED;
    if (error != EAGAIN && error != EINTR && !(absent && patient))
      return Unexpected(ErrorCode::no_daemon, system_error(error, "connect " + path).message);
    deadline.pause(retry_delay);
    if (!deadline.over()) continue;
    if (!absent) return too_late(path);
    return Unexpected(ErrorCode::no_daemon, system_error(error, "connect " + path).message);
  }
}

Result<void> send_all(int socket, std::span<const std::uint8_t> bytes, const std::string& path,
                      const Deadline& deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!deadline.wait(socket, POLLOUT)) return too_late(path);
    } else if (errno != EINTR) {
      return Unexpected(ErrorCode::no_daemon, system_error(errno, "send to " + path).message);
    }
  }
  return {};
}

Result<void> receive_all(int socket, std::span<std::uint8_t> bytes, const std::string& path,
                         const Deadline& deadline) {
  while (!bytes.empty()) {
    if (!deadline.wait(socket, POLLIN)) return too_late(path);
    const ssize_t got = recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 0)
      return Unexpected(ErrorCode::failed, "virt-forwardd closed " + path + " without an answer");
    if (got > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    } else if (errno != EAGAIN && errno != EINTR) {
      return Unexpected(ErrorCode::failed, system_error(errno, "receive from " + path).message);
    }
  }
  return {};
}

Result<HookReply> receive_reply(int socket, const std::string& path, const Deadline& deadline) {
  std::uint8_t prefix[4];
  if (auto got = receive_all(socket, prefix, path, deadline); !got)
    return Unexpected(std::move(got).error());
  const std::size_t length = prefix[0] | std::size_t{prefix[1]} << 8 |
                             std::size_t{prefix[2]} << 16 | std::size_t{prefix[3]} << 24;
  if (length > HookReply::max_bytes)
    return Unexpected(ErrorCode::failed, "the answer on " + path + " is too long");
  std::vector<std::uint8_t> body(length);
  if (auto got = receive_all(socket, body, path, deadline); !got)
    return Unexpected(std::move(got).error());
  return decode_hook_reply(body);
}

}  // namespace

std::string hook_socket_path() {
  constexpr std::string_view file = "/virt-forward/hook.sock";
  const uid_t user = geteuid();
  std::string directory = "/run";
  if (user != 0) {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    directory =
        runtime && runtime[0] == '/' ? std::string(runtime) : "/run/user/" + std::to_string(user);
  }
  return directory.append(file);
}

Result<HookReply> deliver(const std::string& socket_path, const HookMessage& message,
                          const Deadline& deadline) {
  auto socket = connect_to(socket_path, message.wants_answer, deadline);
  if (!socket) return Unexpected(std::move(socket).error());
  if (auto sent = send_all(socket->get(), encode(message), socket_path, deadline); !sent)
    return Unexpected(std::move(sent).error());
  if (!message.wants_answer) return HookReply{};
  return receive_reply(socket->get(), socket_path, deadline);
}

}  // namespace vf
