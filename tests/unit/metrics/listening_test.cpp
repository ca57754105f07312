// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/listening.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>

#include "base/listening_socket.h"
#include "metrics/options.h"

namespace vf {
namespace {

using testing::HasSubstr;

TEST(Listening, OnLoopbackAddressesOnly) {
  for (const char* place : {"0.0.0.0:9", "[::]:9", "192.0.2.1:9", "[2001:db8::1]:9"}) {
    const auto listening = listen_at(place);
    ASSERT_FALSE(listening) << place;
    EXPECT_EQ(listening.error().code, ErrorCode::not_allowed);
    EXPECT_THAT(listening.error().message, HasSubstr(std::string(place) + " is not a loopback"));
  }
  for (const char* place : {"localhost:9", "9", ":9", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x",
                            "::1:9", "[127.0.0.1]:9", "relative", "[]:9", ""}) {
    const auto listening = listen_at(place);
    ASSERT_FALSE(listening) << place;
    EXPECT_EQ(listening.error().code, ErrorCode::invalid_argument) << place;
  }
}

TEST(Listening, WhatIsPassedIsNoLessBound) {
  const auto passed = [](IpAddress address) {
    return take_listener(std::get<Fd>(listen_tcp(address, std::nullopt)));
  };
  const auto loopback = passed(IpAddress::loopback4());
  ASSERT_TRUE(loopback);
  EXPECT_TRUE(loopback->tcp);
  EXPECT_THAT(loopback->name, HasSubstr("127.0.0.1:"));
  const auto everywhere = passed(*IpAddress::parse("0.0.0.0"));
  ASSERT_FALSE(everywhere);
  EXPECT_THAT(everywhere.error().message, HasSubstr("0.0.0.0:"));
  EXPECT_FALSE(take_listener(std::get<Fd>(listen_abstract({"@vf-metrics-test"}))));
  EXPECT_FALSE(take_listener(Fd(socket(AF_UNIX, SOCK_STREAM, 0)))) << "does not listen";
}

TEST(Listening, AtAPathForUserAndGroup) {
  char directory[] = "/tmp/vf-metrics-XXXXXX";
  ASSERT_TRUE(mkdtemp(directory));
  const std::string path = std::string(directory) + "/m.sock";
  {
    const auto listening = listen_at(path);
    ASSERT_TRUE(listening) << listening.error().message;
    EXPECT_FALSE(listening->tcp);
    struct stat status {};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660u);
    EXPECT_FALSE(listen_at(path)) << "taken";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  std::filesystem::remove(directory);
}

TEST(MetricsOptions, WhatDoesNotGoTogetherIsRefused) {
  const auto refused = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "virt-forward-metrics");
    const auto options = parse_metrics_options(std::move(arguments));
    return options ? std::string() : options.error().message;
  };
  EXPECT_EQ(refused({"--listen", "/a", "--listen=127.0.0.1:9", "--detail=host"}), "");
  EXPECT_EQ(refused({"--once", "--detail", "forward"}), "");
  EXPECT_THAT(refused({"--detail=all"}), HasSubstr("allowed are host, domain and forward"));
  EXPECT_THAT(refused({"--once", "--detail=domain"}), HasSubstr("--once knows no totals"));
  EXPECT_THAT(refused({"--once", "--listen=/a"}), HasSubstr("--once does not listen"));
  EXPECT_THAT(refused({"--connect=xen:///"}), HasSubstr("allowed are qemu:///system"));
  EXPECT_THAT(refused({"more"}), HasSubstr("no arguments"));
  EXPECT_THAT(refused({"--colour"}), HasSubstr("--colour"));
}

}  // namespace
}  // namespace vf
