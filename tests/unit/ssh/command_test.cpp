// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ssh/vsock_connect.h"

namespace vf {
namespace {

using testing::Contains;
using testing::ElementsAre;

MasterCommand sample() {
  return {"/usr/bin/ssh",
          "/usr/sbin/virt-forward-ssh",
          "/run/virt-forward-ssh/u/c",
          "/var/lib/virt-forward-ssh/known_hosts.d/u",
          "d3b2a6f0-0d5e-4c1a-9a55-6b1f0c9d7e01",
          Endpoint{IpAddress::v4({192, 168, 122, 7}), *Port::from(2222)},
          "admin",
          "/etc/keys/lab"};
}

Arguments made(const MasterCommand& command) {
  auto arguments = master_arguments(command);
  EXPECT_TRUE(arguments);
  return arguments ? *arguments : Arguments();
}

// Behind the last option.
Arguments end_of(const Arguments& arguments, std::size_t count) {
  return {arguments.end() - static_cast<std::ptrdiff_t>(count), arguments.end()};
}

TEST(SshCommand, NamesWhomAndByWhichKey) {
  const Arguments arguments = made(sample());
  EXPECT_THAT(end_of(arguments, 4), ElementsAre("-p", "2222", "--", "192.168.122.7"));
  EXPECT_EQ(*(std::ranges::find(arguments, "-l") + 1), "admin");
  EXPECT_THAT(arguments, Contains("IdentityFile=\"/etc/keys/lab\""));
  EXPECT_THAT(arguments, Contains("IdentitiesOnly=yes"));
  EXPECT_THAT(arguments, Contains("IdentityAgent=none"));
  EXPECT_THAT(arguments, Contains("HostKeyAlias=" + sample().uuid));
  EXPECT_THAT(arguments, Contains("ProxyCommand=none"));
  EXPECT_EQ(*(std::ranges::find(arguments, "-F") + 1), "none");
}

TEST(SshCommand, HostKeysAreAlwaysChecked) {
  const Arguments arguments = made(sample());
  EXPECT_THAT(arguments, Contains("StrictHostKeyChecking=accept-new"));
  EXPECT_EQ(std::ranges::count_if(
                arguments, [](const auto& one) { return one.find("HostKeyChecking") != one.npos; }),
            1);
}

TEST(SshCommand, OwnKeysAreThoseOfTheUser) {
  MasterCommand command = sample();
  command.key_path.clear();
  for (const std::string& argument : made(command))
    EXPECT_EQ(argument.find("Identit"), argument.npos) << argument;
}

TEST(SshCommand, LinkLocalAddressesHaveTheirInterface) {
  MasterCommand command = sample();
  command.destination = Endpoint{
      IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, 4), *Port::from(22)};
  EXPECT_EQ(made(command).back(), "fe80::9%4");
}

TEST(SshCommand, VsockIsOurOwnProgram) {
  MasterCommand command = sample();
  command.destination = VsockEndpoint{3, 22};
  const Arguments arguments = made(command);
  EXPECT_THAT(arguments,
              Contains("ProxyCommand='/usr/sbin/virt-forward-ssh' --connect-vsock=3:22"));
  EXPECT_THAT(arguments, Contains("ProxyUseFdpass=yes"));
  EXPECT_THAT(end_of(arguments, 2), ElementsAre("--", "vsock-3"));
  command.own_program = "/o'dd";
  EXPECT_FALSE(master_arguments(command));
}

TEST(SshCommand, TokensArePlainText) {
  MasterCommand command = sample();
  command.key_path = "/k%h y";
  command.control_path = "/r%C/c";
  const Arguments arguments = made(command);
  EXPECT_THAT(arguments, Contains("IdentityFile=\"/k%%h y\""));
  EXPECT_THAT(arguments, Contains("/r%%C/c"));
}

TEST(SshCommand, WhatCannotBeSaidIsNot) {
  const auto refused = [](auto change) {
    MasterCommand command = sample();
    change(command);
    return !master_arguments(command);
  };
  EXPECT_TRUE(refused([](auto& command) { command.user = "-oProxyCommand=x"; }));
  EXPECT_TRUE(refused([](auto& command) { command.user = "a b"; }));
  EXPECT_TRUE(refused([](auto& command) { command.key_path = "/${HOME}"; }));
  EXPECT_TRUE(refused([](auto& command) { command.key_path = "/a\" /b"; }));
  EXPECT_TRUE(refused([](auto& command) { command.key_path = "/a\n"; }));
  EXPECT_TRUE(refused([](auto& command) { command.known_hosts = "/a\\"; }));
  EXPECT_TRUE(refused([](auto& command) { command.destination = UnixEndpoint{"/x"}; }));
}

TEST(SshCommand, ForwardsOneArgument) {
  const auto spec = [](const AgentEndpoint& target, const std::string& path = "/r/80") {
    const auto arguments =
        forward_arguments("/usr/bin/ssh", ForwardOperation::forward, "/r/c", path, target);
    return arguments ? *(std::ranges::find(*arguments, "-L") + 1) : "";
  };
  EXPECT_EQ(spec({{}, Port::from(80), {}}), "/r/80:localhost:80");
  EXPECT_EQ(spec({IpAddress::loopback6(), Port::from(80), {}}), "/r/80:[::1]:80");
  EXPECT_EQ(spec({IpAddress::loopback4(), Port::from(80), {}}), "/r/80:127.0.0.1:80");
  EXPECT_EQ(spec({{}, {}, "/a:b\\c%d"}), "/r/80:/a\\:b\\\\c%%d");
  EXPECT_EQ(spec({{}, {}, "/$x"}), "/r/80:/$x");
  EXPECT_EQ(spec({{}, {}, "/${x}"}), "");
  const auto cancel = forward_arguments("/usr/bin/ssh", ForwardOperation::cancel, "/r/c", "/r/80",
                                        {{}, Port::from(80), {}});
  ASSERT_TRUE(cancel);
  EXPECT_EQ(*(std::ranges::find(*cancel, "-O") + 1), "cancel");
}

TEST(SshCommand, TheEnvironmentHasNoAgentButTheUsers) {
  setenv("SSH_AUTH_SOCK", "/agent", 1);
  setenv("SSH_ASKPASS", "/ask", 1);
  const auto count = [](bool own_keys, const char* start) {
    return std::ranges::count_if(ssh_environment(own_keys),
                                 [&](const auto& one) { return one.starts_with(start); });
  };
  EXPECT_EQ(count(false, "SSH_"), 0);
  EXPECT_EQ(count(true, "SSH_AUTH_SOCK=/agent"), 1);
  EXPECT_EQ(count(true, "SSH_ASKPASS"), 0);
}

TEST(SshVsock, IsAGuestsCidAndAPort) {
  EXPECT_EQ(parse_vsock("3:22"), (VsockEndpoint{3, 22}));
  for (const char* const bad : {"", "3", "3:", ":22", "2:22", "1:22", "0:22", "4294967295:22",
                                "4294967296:22", "3:22 ", "3:22:1", "-3:22", "x:22"})
    EXPECT_FALSE(parse_vsock(bad)) << bad;
}

}  // namespace
}  // namespace vf
