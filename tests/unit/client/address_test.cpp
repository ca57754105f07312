// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/address.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(LocalUri, SpellingsOfALocalConnection) {
  const std::pair<const char*, const char*> cases[] = {
      {"qemu:///system", "qemu:///system"},
      {"qemu:///session", "qemu:///session"},
      {"system", "qemu:///system"},
      {"session", "qemu:///session"},
      {"qemu+unix:///system", "qemu:///system"},
      {"qemu+unix:///session?socket=/run/x", "qemu:///session"},
      {"test:///default", "test:///default"},
      {"test+unix:///default", "test+unix:///default"},
  };
  for (const auto& [given, expected] : cases) {
    const auto uri = local_uri(given, {});
    ASSERT_TRUE(uri) << given;
    EXPECT_EQ(*uri, expected);
  }
}

TEST(LocalUri, AnotherHostIsRefusedWithItsSshLine) {
  struct Case {
    const char* uri;
    std::vector<std::string> arguments;
    const char* line;
  };
  const Case cases[] = {
      {"qemu+ssh://lab/system", {"list"}, "run there: ssh lab virt-forward list"},
      {"qemu+ssh://root@lab:2222/system",
       {"-c", "qemu+ssh://root@lab:2222/system", "add", "web", "8080:80"},
       "ssh -p 2222 root@lab virt-forward -c qemu:///system add web 8080:80"},
      {"qemu+ssh://lab/session",
       {"--connect=qemu+ssh://lab/session", "list"},
       "ssh lab virt-forward --connect=qemu:///session list"},
      {"qemu+tls://lab.example:16514/system",
       {"list", "-c", "qemu+tls://lab.example:16514/system"},
       "ssh lab.example virt-forward list -c qemu:///system"},
      {"qemu://[fd00::1]/system", {"list"}, "ssh '[fd00::1]' virt-forward list"},
      {"qemu+ssh://lab/system", {"list", "my vm"}, R"(ssh lab 'virt-forward list '\''my vm'\''')"},
      {"qemu+ssh://$(reboot)/system", {"list"}, "ssh '$(reboot)' virt-forward list"},
  };
  for (const Case& one : cases) {
    const auto uri = local_uri(one.uri, one.arguments);
    ASSERT_FALSE(uri) << one.uri;
    EXPECT_EQ(uri.error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(uri.error().message.ends_with(one.line)) << uri.error().message;
  }
}

TEST(LocalUri, WhatIsNoUriIsRefused) {
  for (const char* text : {"", "web", "://x", "qemu:/system"}) {
    const auto uri = local_uri(text, {});
    ASSERT_FALSE(uri) << text;
    EXPECT_EQ(uri.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(uri.error().message.find("qemu:///system"), std::string::npos);
  }
}

}  // namespace
}  // namespace vf
