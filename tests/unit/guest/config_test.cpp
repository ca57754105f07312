// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace vf::guest {
namespace {

Config config_of(const std::string& text) {
  auto config = Config::parse(text, "guest.conf");
  EXPECT_TRUE(config) << config.error().message;
  return config ? *config : Config{};
}

ListenerKey tcp(const char* address, std::uint16_t port) {
  return {false, *IpAddress::parse(address), *Port::from(port)};
}
ListenerKey udp(const char* address, std::uint16_t port) {
  return {true, *IpAddress::parse(address), *Port::from(port)};
}

TEST(GuestConfig, NothingIsDeniedByDefault) {
  const Config config = config_of("# nothing\n\n   \n");
  EXPECT_TRUE(config.permits(tcp("127.0.0.1", 22)));
  EXPECT_TRUE(config.permits(std::string("/run/docker.sock")));
  EXPECT_FALSE(config.control_from_any_port);
}

TEST(GuestConfig, DenyNamesPortsRangesProtocolsAndAddresses) {
  const Config config = config_of(
      "deny = 22, 6000-6063/tcp,53/udp # comment\n"
      "deny=192.0.2.1\n"
      "  deny = 127.0.0.1:5432 , [::1]:5432/tcp\r\n"
      "deny = 2001:db8::1\n");
  EXPECT_FALSE(config.permits(tcp("127.0.0.1", 22)));
  EXPECT_FALSE(config.permits(udp("::", 22)));
  EXPECT_FALSE(config.permits(tcp("127.0.0.1", 6063)));
  EXPECT_TRUE(config.permits(udp("127.0.0.1", 6063)));
  EXPECT_TRUE(config.permits(tcp("127.0.0.1", 6064)));
  EXPECT_FALSE(config.permits(udp("127.0.0.1", 53)));
  EXPECT_TRUE(config.permits(tcp("127.0.0.1", 53)));
  EXPECT_FALSE(config.permits(tcp("192.0.2.1", 80)));
  EXPECT_FALSE(config.permits(tcp("127.0.0.1", 5432)));
  EXPECT_TRUE(config.permits(tcp("0.0.0.0", 5432)));
  EXPECT_FALSE(config.permits(tcp("::1", 5432)));
  EXPECT_TRUE(config.permits(udp("::1", 5432)));
  EXPECT_FALSE(config.permits(tcp("2001:db8::1", 1)));
}

TEST(GuestConfig, AllowRestrictsItsKindAndDenyGoesBefore) {
  const Config config = config_of("allow = 8000-8999\ndeny = 8080\n");
  EXPECT_TRUE(config.permits(tcp("127.0.0.1", 8000)));
  EXPECT_FALSE(config.permits(tcp("127.0.0.1", 8080)));
  EXPECT_FALSE(config.permits(tcp("127.0.0.1", 22)));
  EXPECT_TRUE(config.permits(std::string("/run/a.sock")));
  const Config paths = config_of("allow = /srv/*.sock\n");
  EXPECT_TRUE(paths.permits(std::string("/srv/a.sock")));
  EXPECT_FALSE(paths.permits(std::string("/srv/sub/a.sock")));
  EXPECT_FALSE(paths.permits(std::string("/run/a.sock")));
  EXPECT_TRUE(paths.permits(tcp("127.0.0.1", 22)));
}

// /var/run is a link on every distribution.
TEST(GuestConfig, RulesFollowSymbolicLinks) {
  char made[] = "/tmp/guest-config-XXXXXX";
  const std::string directory = std::filesystem::canonical(mkdtemp(made));
  const std::string link = directory + "/link";
  const std::string real = directory + "/real";
  ASSERT_EQ(mkdir(real.c_str(), 0700), 0);
  ASSERT_EQ(symlink("real", link.c_str()), 0);
  std::ofstream(real + "/a.sock");
  const auto permits = [](const std::string& rule, const std::string& path) {
    return Config::parse(rule, "guest.conf")->permits(path);
  };
  EXPECT_FALSE(permits("deny = " + link + "/a.sock", real + "/a.sock"));
  EXPECT_FALSE(permits("deny = " + link + "/later.sock", real + "/later.sock"));
  EXPECT_FALSE(permits("deny = " + link + "/*", real + "/a.sock"));
  EXPECT_FALSE(permits("deny = " + link + "//a.sock", real + "/a.sock"));
  EXPECT_TRUE(permits("allow = " + link + "/*", real + "/a.sock"));
  EXPECT_TRUE(permits("deny = " + link + "/b*", real + "/a.sock"));
  EXPECT_FALSE(permits("deny = /run/a[1].sock", "/run/a[1].sock")) << "only * and ? are special";
  EXPECT_TRUE(permits("deny = /run/a[1].sock", "/run/a1.sock"));
  std::filesystem::remove_all(directory);
}

TEST(GuestConfig, ControlFrom) {
  EXPECT_TRUE(config_of("control-from = any-port").control_from_any_port);
  EXPECT_FALSE(
      config_of("control-from = any-port\ncontrol-from = privileged").control_from_any_port);
}

TEST(GuestConfig, ErrorsNameFileAndLine) {
  const std::pair<const char*, const char*> wrong[] = {
      {"deny = 22\ndeny 23", "guest.conf, line 2: KEY = VALUE expected"},
      {"\n\nfoo = 1", "guest.conf, line 3: unknown key foo"},
      {"\x1b = 1", "guest.conf, line 1: unknown key \\x1b"},
      {"deny = 0", "guest.conf, line 1: 0 is no port, range of ports, address or absolute path"},
      {"deny = ", "guest.conf, line 1:  is no port, range of ports, address or absolute path"},
      {"control-from = nobody", "guest.conf, line 1: control-from is privileged or any-port"}};
  for (const auto& [text, message] : wrong) {
    const auto config = Config::parse(text, "guest.conf");
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().message, message);
  }
  for (const char* const item :
       {"70000", "9-8", "22/sctp", "1.2.3", "::1:80x", "1.2.3.4:", "[1.2.3.4]:80", "[::1]",
        "run/a.sock", "22 23", "22,,23", "1.2.3.4:0", "fe80::1%eth0"})
    EXPECT_FALSE(Config::parse("deny = " + std::string(item), "guest.conf")) << item;
}

TEST(GuestConfig, AFileThatIsNotThereIsEmptyAndOneThatIsTooLongIsNot) {
  EXPECT_TRUE(Config::load("/nonexistent/guest.conf"));
  EXPECT_FALSE(Config::load("/"));
  const std::string path = testing::TempDir() + "guest-long.conf";
  std::ofstream(path) << std::string(70'000, '#');
  EXPECT_FALSE(Config::load(path));
}

}  // namespace
}  // namespace vf::guest
