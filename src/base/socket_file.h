// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A unix stream socket that listens at a path.
//
// The file of a socket outlives it, so one that is there already is looked at: where it is a socket
// and nobody answers it is replaced; what answers, and what is no socket, is left alone. The path
// is taken only where nobody but root and ourselves could make it lead elsewhere: every directory
// above that of the socket belongs to one of us and is written by nobody else (or is sticky, as
// /tmp). Symbolic links on the way are those of such directories; the last part is never followed.

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace vf {

// Before it has these, nobody but ourselves can connect.
struct SocketAccess {
  mode_t mode = 0600;
  std::optional<uid_t> user;
  std::optional<gid_t> group;
};

class SocketFile {
 public:
  // PortBusy where somebody answers, NotAllowed where the way is not safe or access is denied;
  // Failed otherwise. Every message names the path.
  struct Listening;
  static Result<Listening> listen(const std::string& path, const SocketAccess& access);
  // The file of a socket that listens at `path` already, for somebody else to have made. Nothing
  // where the path has another file by now.
  static std::optional<SocketFile> adopt(const std::string& path);

  SocketFile(SocketFile&&) = default;
  SocketFile& operator=(SocketFile&& other) noexcept;
  ~SocketFile() { remove(); }

  const std::string& path() const { return path_; }
  // Takes the file away if it is still the one that was made.
  void remove();
  // The file stays when this goes.
  void release() { directory_.reset(); }

 private:
  SocketFile(std::string path, Fd directory, std::string name, dev_t device, ino_t inode);

  std::string path_;
  Fd directory_;
  std::string name_;
  dev_t device_;
  ino_t inode_;
};

struct SocketFile::Listening {
  Fd socket;
  SocketFile file;
};

}  // namespace vf
