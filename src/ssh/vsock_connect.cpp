// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/vsock_connect.h"

#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/fd.h"

namespace vf {
namespace {

constexpr int patience_ms = 10'000;

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// 0, or errno.
int connected(int socket, const SocketAddress& address) {
  if (connect(socket, address.get(), address.length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{socket, POLLOUT, 0};
  int ready = 0;
  while ((ready = poll(&waiting, 1, patience_ms)) < 0 && errno == EINTR) {
  }
  if (ready <= 0) return ready == 0 ? ETIMEDOUT : errno;
  int error_number = 0;
  socklen_t length = sizeof error_number;
  if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error_number, &length) < 0) return errno;
  return error_number;
}

// One byte with the descriptor, as ssh reads it.
bool pass(int over, int fd) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  return sendmsg(over, &header, MSG_NOSIGNAL) == 1;
}

}  // namespace

std::optional<VsockEndpoint> parse_vsock(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == text.npos) return std::nullopt;
  const auto cid = number(text.substr(0, colon));
  const auto port = number(text.substr(colon + 1));
  if (!cid || !port || *cid <= VMADDR_CID_HOST || *cid == VMADDR_CID_ANY) return std::nullopt;
  return VsockEndpoint{*cid, *port};
}

Result<void> connect_vsock_for_ssh(const VsockEndpoint& endpoint) {
  const std::string name = text(RelayEndpoint(endpoint));
  const auto address = socket_address(endpoint);
  const Fd socket(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || !address) return Unexpected(system_error(errno, name));
  if (const int error_number = connected(socket.get(), *address); error_number != 0)
    return Unexpected(system_error(error_number, name));
  if (!pass(STDOUT_FILENO, socket.get())) return Unexpected(system_error(errno, "standard output"));
  return {};
}

}  // namespace vf
