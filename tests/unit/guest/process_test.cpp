// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/process.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/fd.h"
#include "base/guest_listener.h"

namespace vf::guest {
namespace {

TEST(GuestProcess, TheContainerIsThePartThatTellsOne) {
  const std::pair<const char*, const char*> groups[] = {
      {"0::/\n", ""},
      {"", ""},
      {"0::/init.scope\n", ""},
      {"0::/user.slice/user-1000.slice/session-3.scope\n", ""},
      {"0::/system.slice/nginx.service\n", "nginx.service"},
      {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service\n", "web.service"},
      {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope\n", ""},
      {"0::/system.slice/docker-0123abc.scope\n", "docker-0123abc.scope"},
      {"0::/docker/0123abc\n", "docker/0123abc"},
      {"0::/machine.slice/libpod-77.scope/container\n", "libpod-77.scope"},
      {"0::/kubepods.slice/pod1.slice/cri-containerd-9.scope\n", "cri-containerd-9.scope"},
      {"0::/lxc.payload.web/system.slice/sshd.service\n", "lxc.payload.web"},
      {"0::/machine.slice/systemd-nspawn@web.service/payload/system.slice/a.service\n",
       "systemd-nspawn@web.service"},
      {"12:cpu:/docker/9\n1:name=systemd:/docker/9\n0::/\n", "docker/9"},
      {"1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n", "b.service"}};
  for (const auto& [text, container] : groups)
    EXPECT_EQ(container_of(text), container) << text;
}

TEST(GuestProcess, OneselfIsRead) {
  const auto text = read_process(static_cast<std::uint32_t>(getpid()));
  EXPECT_FALSE(text.name.empty());
  EXPECT_EQ(text.name.find('\n'), std::string::npos);
  EXPECT_NE(text.command.find("unit_guest"), std::string::npos);
  EXPECT_LE(text.command.size(), GuestListener::max_command_bytes);
  EXPECT_EQ(read_process(0x7ffffffe), ProcessText{});
}

TEST(GuestProcess, HoldersAreFound) {
  const Fd one(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct stat status {};
  ASSERT_EQ(fstat(one.get(), &status), 0);
  const auto inode = static_cast<std::uint32_t>(status.st_ino);
  const auto self = static_cast<std::uint32_t>(getpid());
  const Fd two(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto own = sockets_of(self);
  EXPECT_GE(own.size(), 2u);
  EXPECT_TRUE(std::ranges::is_sorted(own));
  EXPECT_TRUE(std::ranges::binary_search(own, inode));
  EXPECT_TRUE(sockets_of(0x7ffffffe).empty());
  const auto holders = find_holders({inode, 1});
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders.at(inode), self);
}

}  // namespace
}  // namespace vf::guest
