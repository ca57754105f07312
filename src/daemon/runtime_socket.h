// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A listening unix stream socket of the daemon's in its runtime directory.

#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace vf {

class RuntimeSocket {
 public:
  RuntimeSocket() = default;

  // Listens at `path`, mode 0600: at no time can others connect. The directory is made when it is
  // missing. A socket file that nobody answers is replaced; a live one, and what is no socket, is
  // an error. Of several processes that do this at once for one path, one gets it.
  static Result<RuntimeSocket> listen(const std::string& path);
  // A descriptor that the service manager listens on, at whatever path; the file stays its own.
  static Result<RuntimeSocket> take(Fd listening);

  RuntimeSocket(RuntimeSocket&& other) noexcept;
  RuntimeSocket& operator=(RuntimeSocket&& other) noexcept;
  // Takes the socket file away, unless it is the service manager's or somebody replaced it.
  ~RuntimeSocket() { close(); }

  explicit operator bool() const { return static_cast<bool>(listening_); }
  int fd() const { return listening_.get(); }
  // Whether somebody has connected and was not accepted yet.
  bool waited_at() const;
  // The service manager's: it listens on when this process has ended, and starts another.
  bool inherited() const { return listening_ && path_.empty(); }

 private:
  RuntimeSocket(Fd listening, std::string path);
  void close();

  Fd listening_;
  std::string path_;  // empty: not ours to take away
  unsigned long device_ = 0;
  unsigned long inode_ = 0;
};

// What the service manager passed to this process (LISTEN_FDS), by the names of the socket files
// ("hook.sock"); what is no socket at a path is closed. Once in the life of a process.
class InheritedSockets {
 public:
  InheritedSockets();
  // Listens on the inherited one if there is one with the file name of `path`, else at `path`.
  Result<RuntimeSocket> listen(const std::string& path);

 private:
  struct Named {
    std::string name;
    Fd fd;
  };
  std::vector<Named> sockets_;
};

}  // namespace vf
