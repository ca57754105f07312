// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/port_hints.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <gtest/gtest.h>

#include "glib/ref.h"

namespace vf {
namespace {

class PortHintsFile : public testing::Test {
 protected:
  PortHintsFile() : directory_(take_string(g_dir_make_tmp("ports-XXXXXX", nullptr))) {}
  ~PortHintsFile() override {
    g_unlink(path().c_str());
    g_rmdir(directory_.c_str());
  }
  std::string path() const { return directory_ + "/ports"; }

  const PortHint hint_{7, Port::from(8080), *Port::from(8081)};

 private:
  std::string directory_;
};

TEST_F(PortHintsFile, SurviveARestart) {
  { PortHints(path()).remember("uuid/tcp:8080:80", hint_); }
  EXPECT_EQ(PortHints(path()).find("uuid/tcp:8080:80", 7), hint_);
}

TEST_F(PortHintsFile, KeysMayHoldSpaces) {
  const PortHint any{7, std::nullopt, *Port::from(40000)};
  { PortHints(path()).remember("uuid/my web server", any); }
  EXPECT_EQ(PortHints(path()).find("uuid/my web server", 7), any);
}

TEST_F(PortHintsFile, TellTcpFromUdp) {
  const PortHint udp{7, Port::from(5353), *Port::from(5354), Protocol::udp};
  { PortHints(path()).remember("uuid/dns", udp); }
  EXPECT_EQ(PortHints(path()).find("uuid/dns", 7), udp);
}

TEST_F(PortHintsFile, AnotherRunIsNoHint) {
  PortHints hints(path());
  hints.remember("uuid/a", hint_);
  EXPECT_FALSE(hints.find("uuid/a", 8));
  EXPECT_FALSE(hints.find("uuid/a", std::nullopt));
}

TEST_F(PortHintsFile, ForgetsOneDomain) {
  PortHints hints(path());
  hints.remember("uuid1/a", hint_);
  hints.remember("uuid1/b", hint_);
  hints.remember("uuid2/a", hint_);
  hints.forget("uuid1/");
  EXPECT_FALSE(hints.find("uuid1/a", 7));
  EXPECT_FALSE(hints.find("uuid1/b", 7));
  EXPECT_TRUE(hints.find("uuid2/a", 7));
}

TEST_F(PortHintsFile, KeepsOnlyWhatIsWanted) {
  PortHints hints(path());
  hints.remember("uuid1/a", hint_);
  hints.remember("uuid2/a", hint_);
  hints.forget_unless([](const std::string& key) { return key == "uuid2/a"; });
  EXPECT_FALSE(hints.find("uuid1/a", 7));
  EXPECT_TRUE(hints.find("uuid2/a", 7));
}

TEST_F(PortHintsFile, WhatCannotBeReadIsLeftOut) {
  const std::string text =
      "x any 80 uuid/a\n7 any 0 uuid/b\n7 any 99999 uuid/c\n\n7 any 80\n7 any 80 uuid/good";
  ASSERT_TRUE(g_file_set_contents(path().c_str(), text.c_str(), -1, nullptr));
  const PortHints hints(path());
  for (const char* key : {"uuid/a", "uuid/b", "uuid/c"})
    EXPECT_FALSE(hints.find(key, 7)) << key;
  EXPECT_TRUE(hints.find("uuid/good", 7));
}

TEST_F(PortHintsFile, AFileThatCannotBeWrittenIsNoError) {
  PortHints hints("/nonexistent/ports");
  hints.remember("uuid/a", hint_);
  EXPECT_TRUE(hints.find("uuid/a", 7));
}

}  // namespace
}  // namespace vf
