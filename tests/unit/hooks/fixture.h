// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What hook tests share: a directory of their own, sockets in it, and bytes on a descriptor.

#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/unix_address.h"

namespace vf {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = testing::TempDir() + "vf-hook-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  std::string operator/(const std::string& name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

inline Fd listen_at(const std::string& path, int type, int backlog) {
  const auto address = UnixAddress::from(path);
  Fd listener(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  EXPECT_TRUE(address);
  EXPECT_EQ(bind(listener.get(), address->get(), address->length), 0);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(listen(listener.get(), backlog), 0);
  }
  return listener;
}

inline Fd connect_at(const std::string& path, int flags = 0) {
  const auto address = UnixAddress::from(path);
  Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (connect(client.get(), address->get(), address->length) != 0) client.reset();
  return client;
}

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  Fd out;
  Fd in;
};

// The reading end of a pipe that `text` is written into, and then closed.
class Feed {
 public:
  explicit Feed(std::string text)
      : writer_([text = std::move(text), in = pipe_.in.release()] {
          signal(SIGPIPE, SIG_IGN);  // a hook may close its input early
          std::size_t at = 0;
          while (at < text.size()) {
            const ssize_t done = write(in, text.data() + at, text.size() - at);
            if (done <= 0) break;
            at += static_cast<std::size_t>(done);
          }
          close(in);
        }) {}
  ~Feed() {
    pipe_.out.reset();
    writer_.join();
  }
  int fd() const { return pipe_.out.get(); }

 private:
  Pipe pipe_;
  std::thread writer_;
};

// One message, with its prefix taken off.
inline std::vector<std::uint8_t> receive_message(int socket) {
  std::uint8_t prefix[4];
  if (recv(socket, prefix, 4, MSG_WAITALL) != 4) return {};
  const std::size_t length = prefix[0] | std::size_t{prefix[1]} << 8 |
                             std::size_t{prefix[2]} << 16 | std::size_t{prefix[3]} << 24;
  std::vector<std::uint8_t> body(length);
  if (recv(socket, body.data(), length, MSG_WAITALL) != static_cast<ssize_t>(length)) return {};
  return body;
}

inline void send_bytes(int socket, const std::vector<std::uint8_t>& bytes) {
  EXPECT_EQ(send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

}  // namespace vf
