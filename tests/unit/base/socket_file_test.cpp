// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/socket_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/unix_address.h"

namespace vf {
namespace {

namespace fs = std::filesystem;

class SocketFileTest : public testing::Test {
 protected:
  SocketFileTest() {
    char name[] = "/tmp/socket-file-test.XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/a.sock";
  }
  ~SocketFileTest() override { fs::remove_all(directory_); }

  static Result<SocketFile::Listening> listen(const std::string& path, mode_t mode = 0600) {
    return SocketFile::listen(path, {mode, std::nullopt, std::nullopt});
  }
  static bool answers(const std::string& path) {
    const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = UnixAddress::from(path);
    return connect(fd.get(), address->get(), address->length) == 0;
  }
  // A socket file whose socket is gone.
  static void leave_stale(const std::string& path) {
    auto made = listen(path);
    ASSERT_TRUE(made);
    made->file.release();
  }

  std::string directory_;
  std::string path_;
};

TEST_F(SocketFileTest, ListensWithTheModeAskedForWhateverTheUmask) {
  const mode_t before = umask(0077);
  const auto made = listen(path_, 0666);
  umask(before);
  ASSERT_TRUE(made) << made.error().message;
  struct stat status {};
  ASSERT_EQ(lstat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0666u);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_TRUE(answers(path_));
}

TEST_F(SocketFileTest, GivesTheFileItsOwner) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  const auto made = SocketFile::listen(path_, {0660, 12345, 23456});
  ASSERT_TRUE(made);
  struct stat status {};
  ASSERT_EQ(lstat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 12345u);
  EXPECT_EQ(status.st_gid, 23456u);
}

TEST_F(SocketFileTest, TakesItsFileAwayAtTheEndButNoOther) {
  {
    const auto made = listen(path_);
    ASSERT_TRUE(made);
  }
  EXPECT_FALSE(fs::exists(path_));
  {
    const auto made = listen(path_);
    ASSERT_TRUE(made);
    fs::remove(path_);
    std::ofstream(path_) << "another's";
  }
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(SocketFileTest, ReplacesAFileThatNobodyAnswersOn) {
  leave_stale(path_);
  ASSERT_TRUE(fs::is_socket(path_));
  const auto made = listen(path_);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(answers(path_));
}

TEST_F(SocketFileTest, LeavesASocketAloneThatLives) {
  const auto first = listen(path_);
  ASSERT_TRUE(first);
  const auto second = listen(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::port_busy);
  EXPECT_NE(second.error().message.find(path_), std::string::npos);
  EXPECT_TRUE(answers(path_));
}

// One whose backlog is full, or that takes datagrams, lives too.
TEST_F(SocketFileTest, LeavesASocketAloneThatIsBusyOrOfAnotherType) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    const Fd other(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const auto address = UnixAddress::from(path_);
    ASSERT_EQ(bind(other.get(), address->get(), address->length), 0);
    if (type == SOCK_SEQPACKET) {
      ASSERT_EQ(::listen(other.get(), 1), 0);
    }
    const auto made = listen(path_);
    ASSERT_FALSE(made) << type;
    EXPECT_TRUE(fs::exists(path_));
    fs::remove(path_);
  }
}

TEST_F(SocketFileTest, LeavesAFileAloneThatIsNoSocket) {
  std::ofstream(path_) << "text";
  auto made = listen(path_);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("not a socket"), std::string::npos);
  fs::remove(path_);
  // Nor is a link followed, wherever it leads.
  leave_stale(directory_ + "/b.sock");
  fs::create_symlink(directory_ + "/b.sock", path_);
  EXPECT_FALSE(listen(path_));
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_TRUE(fs::exists(directory_ + "/b.sock"));
}

TEST_F(SocketFileTest, ADirectoryThatOthersCanReplaceIsRefused) {
  const std::string open_directory = directory_ + "/open";
  fs::create_directories(open_directory + "/sub");
  chmod(open_directory.c_str(), 0777);
  const auto made = listen(open_directory + "/sub/a.sock");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::not_allowed);
  EXPECT_NE(made.error().message.find("\"sub\""), std::string::npos) << made.error().message;
  // What others can write holds sockets; only what is above must be ours. Sticky is good enough.
  EXPECT_TRUE(listen(open_directory + "/a.sock"));
  chmod(open_directory.c_str(), 01777);
  EXPECT_TRUE(listen(open_directory + "/sub/a.sock"));
}

TEST_F(SocketFileTest, ADirectoryOfSomebodyElseIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives directories away";
  fs::create_directories(directory_ + "/theirs/sub");
  ASSERT_EQ(chown((directory_ + "/theirs").c_str(), 12345, 12345), 0);
  EXPECT_FALSE(listen(directory_ + "/theirs/sub/a.sock"));
  // Also behind a link of our own.
  fs::create_symlink(directory_ + "/theirs/sub", directory_ + "/link");
  EXPECT_FALSE(listen(directory_ + "/link/a.sock"));
}

TEST_F(SocketFileTest, ALinkToADirectoryOfOursIsFollowed) {
  fs::create_directories(directory_ + "/real");
  fs::create_symlink("real", directory_ + "/link");
  const auto made = listen(directory_ + "/link/a.sock");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(fs::is_socket(directory_ + "/real/a.sock"));
}

TEST_F(SocketFileTest, AdoptsTheFileOfASocketThatListensAlready) {
  {
    auto made = listen(path_);
    ASSERT_TRUE(made);
    made->file.release();
    auto adopted = SocketFile::adopt(path_);
    ASSERT_TRUE(adopted);
  }
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_FALSE(SocketFile::adopt(path_));
  std::ofstream(path_) << "text";
  EXPECT_FALSE(SocketFile::adopt(path_));
}

TEST_F(SocketFileTest, WrongPathsAreErrorsThatNameThem) {
  for (const std::string& wrong :
       {std::string("/"), directory_ + "/..", directory_ + '/', directory_ + "/none/a.sock",
        directory_ + '/' + std::string(120, 'x')}) {
    const auto made = listen(wrong);
    ASSERT_FALSE(made) << wrong;
    EXPECT_NE(made.error().message.find('/'), std::string::npos);
  }
}

}  // namespace
}  // namespace vf
