// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/runtime_socket.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <utility>

#include "base/unix_address.h"

namespace vf {
namespace {

constexpr int backlog = 128;

Unexpected unusable(const std::string& path) {
  return Unexpected(system_error(errno, path));
}

Fd new_socket() {
  return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

std::string_view directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : std::string_view(path).substr(0, slash);
}

// Clears the way for bind(): the socket file of a daemon that is gone.
Result<void> remove_stale(const std::string& path, const UnixAddress& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0)
    return errno == ENOENT ? Result<void>() : Result<void>(unusable(path));
  if (!S_ISSOCK(status.st_mode))
    return Unexpected(ErrorCode::failed, path + " is in the way and no socket; remove it");
  const Fd probe = new_socket();
  if (!probe) return unusable(path);
  // A full backlog (EAGAIN) has a listener too.
  if (connect(probe.get(), address.get(), address.length) == 0 || errno == EAGAIN)
    return Unexpected(ErrorCode::failed, "another daemon already serves " + path);
  if (errno != ECONNREFUSED) return unusable(path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return unusable(path);
  return {};
}

// The path of a listening unix stream socket; empty for anything else.
std::string path_of_listener(int fd) {
  sockaddr_un name{};
  socklen_t name_size = sizeof name;
  int listening = 0;
  int type = 0;
  socklen_t size = sizeof listening;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0 ||
      getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&name), &name_size) != 0 ||
      name.sun_family != AF_UNIX || name_size <= offsetof(sockaddr_un, sun_path))
    return {};
  const std::size_t length =
      std::min(name_size - offsetof(sockaddr_un, sun_path), sizeof name.sun_path);
  const std::string_view path(name.sun_path, length);
  return std::string(path.substr(0, path.find('\0')));
}

}  // namespace

RuntimeSocket::RuntimeSocket(Fd listening, std::string path)
    : listening_(std::move(listening)), path_(std::move(path)) {
  struct stat status {};
  if (path_.empty() || lstat(path_.c_str(), &status) != 0) return;
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

RuntimeSocket::RuntimeSocket(RuntimeSocket&& other) noexcept
    : listening_(std::move(other.listening_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

RuntimeSocket& RuntimeSocket::operator=(RuntimeSocket&& other) noexcept {
  if (this == &other) return *this;
  close();
  listening_ = std::move(other.listening_);
  path_ = std::exchange(other.path_, {});
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

void RuntimeSocket::close() {
  // A daemon that replaced the file owns it now.
  struct stat now {};
  if (!path_.empty() && lstat(path_.c_str(), &now) == 0 && now.st_dev == device_ &&
      now.st_ino == inode_)
    unlink(path_.c_str());
  path_.clear();
  listening_.reset();
}

Result<RuntimeSocket> RuntimeSocket::listen(const std::string& path) {
  const auto address = UnixAddress::from(path);
  if (!address)
    return Unexpected(ErrorCode::invalid_argument, path + " is not usable as the path of a socket");
  const std::string directory(directory_of(path));
  if (g_mkdir_with_parents(directory.c_str(), 0755) != 0) return unusable(directory);
  // Of two daemons that start at once only one finds a stale file. A file of its own, which nobody
  // else can open: a lock on the directory could be held by any user.
  const std::string lock_path = directory + "/lock";
  const Fd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock || flock(lock.get(), LOCK_EX) != 0) return unusable(lock_path);
  if (auto removed = remove_stale(path, *address); !removed)
    return Unexpected(std::move(removed).error());
  Fd listener = new_socket();
  // The file is made with the mode of the socket.
  if (!listener || fchmod(listener.get(), 0600) != 0 ||
      bind(listener.get(), address->get(), address->length) != 0)
    return unusable(path);
  RuntimeSocket result(std::move(listener), path);
  if (::listen(result.fd(), backlog) != 0) return unusable(path);
  return result;
}

Result<RuntimeSocket> RuntimeSocket::take(Fd listening) {
  const int fd = listening.get();
  if (path_of_listener(fd).empty())
    return Unexpected(ErrorCode::failed,
                      "the descriptor that was passed is no listening unix stream socket");
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return Unexpected(system_error(errno, "fcntl"));
  return RuntimeSocket(std::move(listening), {});
}

bool RuntimeSocket::waited_at() const {
  pollfd one{listening_.get(), POLLIN, 0};
  return listening_ && poll(&one, 1, 0) > 0 && (one.revents & POLLIN) != 0;
}

InheritedSockets::InheritedSockets() {
  const int count = sd_listen_fds(1);
  for (int index = 0; index < count; ++index) {
    Fd fd(SD_LISTEN_FDS_START + index);
    const std::string path = path_of_listener(fd.get());
    if (path.empty()) continue;
    sockets_.push_back({path.substr(path.rfind('/') + 1), std::move(fd)});
  }
}

Result<RuntimeSocket> InheritedSockets::listen(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  for (Named& one : sockets_)
    if (one.fd && one.name == name) return RuntimeSocket::take(std::move(one.fd));
  return RuntimeSocket::listen(path);
}

}  // namespace vf
