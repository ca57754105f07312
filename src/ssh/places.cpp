// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/places.h"

#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include "glib/ref.h"

namespace vf {
namespace {

// What stands behind it is at most "/UUID/c" and the 17 characters that ssh puts there for a moment
// ("/UUID/65535-" and a digest is as long); a socket's path has 107.
constexpr std::size_t longest_base = 107 - 37 - 2 - 17;
constexpr std::size_t digest_length = 12;

std::string hex(std::span<const std::uint8_t> bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

std::string digest(const std::string& text) {
  return take_string(g_compute_checksum_for_string(G_CHECKSUM_SHA256, text.c_str(), -1))
      .substr(0, digest_length);
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) < 0 && errno != EEXIST)
    return Unexpected(system_error(errno, path));
  struct stat status {};
  if (lstat(path.c_str(), &status) < 0) return Unexpected(system_error(errno, path));
  if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid())
    return Unexpected(ErrorCode::not_allowed, path + " is not a directory of this user");
  if (chmod(path.c_str(), mode) < 0) return Unexpected(system_error(errno, path));
  return {};
}

}  // namespace

Result<Places> Places::prepare(const std::string& sockets, const std::string& state) {
  for (const std::string& path : {sockets, state})
    if (!path.starts_with('/'))
      return Unexpected(ErrorCode::invalid_argument, path + ": not an absolute path");
  if (sockets.size() > longest_base)
    return Unexpected(ErrorCode::invalid_argument, sockets + ": longer than the " +
                                                       std::to_string(longest_base) +
                                                       " bytes that leave room for sockets");
  // The relay comes in by the group.
  if (auto made = make_directory(sockets, 0750); !made) return Unexpected(made.error());
  if (auto made = make_directory(state, 0700); !made) return Unexpected(made.error());
  if (auto made = make_directory(state + "/known_hosts.d", 0700); !made)
    return Unexpected(made.error());
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(sockets, error))
    std::filesystem::remove_all(entry.path(), error);
  if (error) return Unexpected(system_error(error.value(), sockets));
  return Places(sockets, state);
}

std::string Places::tunnel(const std::string& uuid, const AgentEndpoint& target) const {
  std::string name;
  if (!target.port)
    name = 'u' + digest(target.path);
  else
    name = std::to_string(target.port->number()) + (!target.address ? ""
                                                    : target.address->is_v4()
                                                        ? '-' + hex(target.address->bytes())
                                                        : '-' + digest(target.address->text()));
  return directory(uuid) + '/' + name;
}

std::string Places::known_hosts(const std::string& uuid) const {
  return state_ + "/known_hosts.d/" + uuid;
}

Result<void> Places::make(const std::string& uuid) const {
  remove(uuid);
  return make_directory(directory(uuid), 0750);
}

void Places::remove(const std::string& uuid) const {
  std::error_code error;
  std::filesystem::remove_all(directory(uuid), error);
}

bool Places::pinned(const std::string& uuid) const {
  struct stat status {};
  return stat(known_hosts(uuid).c_str(), &status) == 0 && status.st_size > 0;
}

}  // namespace vf
