// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/socket_file.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "base/unix_address.h"

namespace vf {
namespace {

constexpr int backlog = 4096;

struct Place {
  Fd directory;
  std::string name;
  std::string path;  // without symbolic links
};

Unexpected unsafe(const std::string& path, const std::string& why) {
  return Unexpected(ErrorCode::not_allowed, path + ": " + why);
}

// Whether somebody else could put another entry in the place of one that is there.
bool others_may_replace(const struct stat& directory, const struct stat& entry) {
  const auto is_ours = [](uid_t uid) { return uid == 0 || uid == geteuid(); };
  if (!is_ours(directory.st_uid)) return true;
  if ((directory.st_mode & (S_IWGRP | S_IWOTH)) == 0) return false;
  return (directory.st_mode & S_ISVTX) == 0 || !is_ours(entry.st_uid);
}

// Opens a directory whose name nobody else can turn to another. Symbolic links are resolved first,
// and are not followed again: what they led to is what is checked and used.
Result<Place> open_safely(const std::string& directory) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(directory.c_str(), nullptr),
                                                         std::free);
  if (!real) return Unexpected(system_error(errno, directory));
  Fd at(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat above {};
  if (!at || fstat(at.get(), &above) < 0) return Unexpected(system_error(errno, "/"));
  std::string_view rest(real.get());
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash
    const std::string part(rest.substr(0, rest.find('/')));
    rest.remove_prefix(part.size());
    if (part.empty()) break;
    Fd next(openat(at.get(), part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!next || fstat(next.get(), &status) < 0) return Unexpected(system_error(errno, directory));
    if (others_may_replace(above, status))
      return unsafe(directory, "others can put something else in the place of \"" + part + '"');
    at = std::move(next);
    above = status;
  }
  std::string path = real.get();
  return Place{std::move(at), {}, path == "/" ? std::string() : std::move(path)};
}

Result<Place> place_of(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..")
    return Unexpected(ErrorCode::invalid_argument, path + ": not the name of a socket");
  auto place = open_safely(slash == std::string::npos ? "."
                           : slash == 0               ? "/"
                                                      : path.substr(0, slash));
  if (!place) return place;
  place->name = name;
  place->path += '/' + name;
  return place;
}

// Removes a socket file that nobody answers on. True when the place is free then.
Result<void> clear(const Place& place, const std::string& path) {
  struct stat status {};
  if (fstatat(place.directory.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? Result<void>() : Unexpected(system_error(errno, path));
  if (!S_ISSOCK(status.st_mode))
    return Unexpected(ErrorCode::failed, path + " exists and is not a socket");
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto address = UnixAddress::from(place.path);
  if (!probe || !address) return Unexpected(system_error(errno, path));
  if (connect(probe.get(), address->get(), address->length) == 0 ||
      (errno != ECONNREFUSED && errno != ENOENT))
    return Unexpected(errno == EACCES ? ErrorCode::not_allowed : ErrorCode::port_busy,
                      path + " is in use by another program");
  if (unlinkat(place.directory.get(), place.name.c_str(), 0) < 0 && errno != ENOENT)
    return Unexpected(system_error(errno, "remove the stale socket " + path));
  return {};
}

// Gives the file its owner and then its mode, and tells which it is.
Result<struct stat> admit(const Place& place, const std::string& path, const SocketAccess& access) {
  const Fd file(openat(place.directory.get(), place.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!file || fstat(file.get(), &status) < 0) return Unexpected(system_error(errno, path));
  if (!S_ISSOCK(status.st_mode) || status.st_uid != geteuid())
    return unsafe(path, "somebody else replaced it");
  const uid_t user = access.user.value_or(static_cast<uid_t>(-1));
  const gid_t group = access.group.value_or(static_cast<gid_t>(-1));
  if ((access.user || access.group) && fchownat(file.get(), "", user, group, AT_EMPTY_PATH) < 0)
    return Unexpected(system_error(errno, "change the owner of " + path));
  const std::string by_descriptor = "/proc/self/fd/" + std::to_string(file.get());
  if (chmod(by_descriptor.c_str(), access.mode) < 0)
    return Unexpected(system_error(errno, "change the mode of " + path));
  return status;
}

}  // namespace

SocketFile::SocketFile(std::string path, Fd directory, std::string name, dev_t device, ino_t inode)
    : path_(std::move(path)),
      directory_(std::move(directory)),
      name_(std::move(name)),
      device_(device),
      inode_(inode) {}

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
  if (this == &other) return *this;
  remove();
  path_ = std::move(other.path_);
  directory_ = std::move(other.directory_);
  name_ = std::move(other.name_);
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

Result<SocketFile::Listening> SocketFile::listen(const std::string& path,
                                                 const SocketAccess& access) {
  auto place = place_of(path);
  if (!place) return Unexpected(std::move(place).error());
  const auto address = UnixAddress::from(place->path);
  if (!address)
    return Unexpected(ErrorCode::invalid_argument,
                      place->path + ": a socket's path has at most 107 bytes");
  if (const auto cleared = clear(*place, path); !cleared) return Unexpected(cleared.error());

  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The file begins with the mode of the socket.
  if (!socket || fchmod(socket.get(), 0600) < 0) return Unexpected(system_error(errno, path));
  if (bind(socket.get(), address->get(), address->length) < 0)
    return Unexpected(system_error(errno, "bind " + path));
  const auto status = admit(*place, path, access);
  if (!status) {
    unlinkat(place->directory.get(), place->name.c_str(), 0);
    return Unexpected(status.error());
  }
  SocketFile file(path, std::move(place->directory), std::move(place->name), status->st_dev,
                  status->st_ino);
  if (::listen(socket.get(), backlog) < 0) return Unexpected(system_error(errno, "listen " + path));
  return Listening{std::move(socket), std::move(file)};
}

std::optional<SocketFile> SocketFile::adopt(const std::string& path) {
  auto place = place_of(path);
  struct stat status {};
  if (!place ||
      fstatat(place->directory.get(), place->name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
    return std::nullopt;
  if (!S_ISSOCK(status.st_mode)) return std::nullopt;
  return SocketFile(path, std::move(place->directory), std::move(place->name), status.st_dev,
                    status.st_ino);
}

void SocketFile::remove() {
  struct stat status {};
  if (directory_ && fstatat(directory_.get(), name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
      status.st_dev == device_ && status.st_ino == inode_)
    unlinkat(directory_.get(), name_.c_str(), 0);
  directory_.reset();
}

}  // namespace vf
