// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/runtime_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include "base/unix_address.h"
#include "bus_lab.h"

namespace vf {
namespace {

class RuntimeSocketTest : public testing::Test {
 protected:
  Fd connected() const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = UnixAddress::from(path);
    if (connect(socket.get(), address->get(), address->length) != 0) socket.reset();
    return socket;
  }

  void leave_stale_file() const {
    const Fd old(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = UnixAddress::from(path);
    ASSERT_EQ(bind(old.get(), address->get(), address->length), 0);
  }

  ScratchDirectory directory;
  std::string path = directory.path("bus.sock");
};

// Whether somebody waits for the lock of this file: "1: -> FLOCK ADVISORY WRITE 42 08:01:1234 0
// EOF".
bool has_waiter(int locked) {
  struct stat status {};
  fstat(locked, &status);
  const std::string inode = ':' + std::to_string(status.st_ino) + ' ';
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);)
    if (line.find("-> FLOCK") != std::string::npos && line.find(inode) != std::string::npos)
      return true;
  return false;
}

// Between finding a file stale and listening in its place nobody else may find it stale.
TEST_F(RuntimeSocketTest, OneAtATimeLooksForAStaleFile) {
  leave_stale_file();
  const Fd other(open((directory.root() + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(flock(other.get(), LOCK_EX), 0);
  std::atomic<bool> done = false;
  Result<RuntimeSocket> second = RuntimeSocket();
  std::thread late([&] {
    second = RuntimeSocket::listen(path);
    done = true;
  });
  while (!done && !has_waiter(other.get()))
    std::this_thread::yield();
  EXPECT_FALSE(done);
  unlink(path.c_str());
  const Fd first(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = UnixAddress::from(path);
  EXPECT_EQ(bind(first.get(), address->get(), address->length), 0);
  EXPECT_EQ(listen(first.get(), 1), 0);
  flock(other.get(), LOCK_UN);
  late.join();
  EXPECT_FALSE(second);
  EXPECT_TRUE(connected());
}

TEST_F(RuntimeSocketTest, TellsWhetherSomebodyWaits) {
  auto socket = RuntimeSocket::listen(path);
  ASSERT_TRUE(socket) << socket.error().message;
  EXPECT_FALSE(socket->waited_at());
  EXPECT_FALSE(socket->inherited());
  const Fd client = connected();
  EXPECT_TRUE(socket->waited_at());
}

TEST_F(RuntimeSocketTest, TheFileMovesWithTheSocketAndGoesWithIt) {
  struct stat status {};
  {
    auto socket = RuntimeSocket::listen(path);
    ASSERT_TRUE(socket);
    RuntimeSocket moved = *std::move(socket);
    RuntimeSocket again;
    again = std::move(moved);
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u);
  }
  EXPECT_NE(stat(path.c_str(), &status), 0);
}

TEST_F(RuntimeSocketTest, TheFileOfAnInheritedOneStays) {
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = UnixAddress::from(path);
  ASSERT_EQ(bind(listener.get(), address->get(), address->length), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  {
    auto socket = RuntimeSocket::take(std::move(listener));
    ASSERT_TRUE(socket);
    EXPECT_TRUE(socket->inherited());
  }
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
}

}  // namespace
}  // namespace vf
