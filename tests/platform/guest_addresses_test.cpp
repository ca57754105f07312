// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From a packet on a bridge to the observer of a LibvirtHost: domains of libvirt's test driver
// whose taps are real ports of a real bridge.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>

#include <chrono>
#include <fstream>
#include <memory>

#include "glib/source.h"
#include "main_loop.h"
#include "plugin/libvirt_host.h"
#include "private_network.h"
#include "recorder.h"

namespace vf {
namespace {

using test::FakeGuest;
using test::Recorder;
using test::run_until;

constexpr const char* uuid_5 = "00000000-0000-0000-0000-000000000005";
constexpr const char* uuid_6 = "00000000-0000-0000-0000-000000000006";
constexpr const char* mac_5 = "52:54:00:00:09:05";
constexpr const char* mac_6 = "52:54:00:00:09:06";

std::string domain_xml(const std::string& digit, const std::string& devices) {
  return "<domain type='test'><name>d" + digit +
         "</name><uuid>00000000-0000-0000-0000-00000000000" + digit +
         "</uuid><memory>1000</memory><os><type>hvm</type></os><devices>" + devices +
         "</devices></domain>";
}

std::string nic(const std::string& mac, const std::string& tap) {
  return "<interface type='bridge'><source bridge='vbr0'/><mac address='" + mac + "'/>" +
         (tap.empty() ? "" : "<target dev='" + tap + "'/>") + "</interface>";
}

class GuestAddressesTest : public ::testing::Test {
 protected:
  GuestAddressesTest() {
    EXPECT_TRUE(test::add_bridge("vbr0", "10.9.0.1/24 fd00:9::1/64"));
    guest = std::make_unique<FakeGuest>("vbr0", "vtap5", mac_5);
    sibling = std::make_unique<FakeGuest>("vbr0", "vtap6", mac_6);
    EXPECT_TRUE(*guest);
    EXPECT_TRUE(*sibling);
  }
  ~GuestAddressesTest() override {
    guest.reset();
    sibling.reset();
    test::ip("link del vbr0");
  }

  void start(const std::string& domains = domain_xml("5", nic(mac_5, "vtap5")) +
                                          domain_xml("6", nic(mac_6, "vtap6"))) {
    const std::string path = ::testing::TempDir() + "vf-addresses-node.xml";
    std::ofstream(path) << "<node>" << domains << "</node>";
    host = std::make_unique<LibvirtHost>("test://" + path, recorder);
    host->start();
    ASSERT_TRUE(run_until([&] { return recorder.resyncs > 0; }));
    std::remove(path.c_str());
  }

  // From now on the guest answers for the address.
  void alive(FakeGuest& machine, const std::string& address) {
    answers.push_back(watch_fd(machine.fd(), G_IO_IN, [&machine, address](GIOCondition) {
      if (address.find(':') == std::string::npos)
        machine.answer(address);
      else
        machine.answer6(address);
    }));
  }

  std::string addresses(const char* uuid) const {
    std::string text;
    const auto found = recorder.addresses.find(uuid);
    if (found == recorder.addresses.end()) return text;
    for (const IpAddress& address : found->second)
      text += (text.empty() ? "" : " ") + address.text();
    return text;
  }
  bool becomes(const char* uuid, const std::string& text) {
    return run_until([&] { return addresses(uuid) == text; }, 5);
  }
  // What was sent until now has been seen by the host: the frame of a third machine behind it has.
  void settle() {
    const std::string marker = "52:54:00:00:09:0a";
    const std::string address = "10.9.0." + std::to_string(100 + ++settled);
    guest->ask(address, "10.9.0.1", mac_5);
    EXPECT_TRUE(run_until([&] { return addresses(uuid_5).find(address) != std::string::npos; }));
  }

  int settled = 0;
  Recorder recorder;
  std::unique_ptr<FakeGuest> guest;
  std::unique_ptr<FakeGuest> sibling;
  std::unique_ptr<LibvirtHost> host;
  std::vector<Source> answers;
};

TEST_F(GuestAddressesTest, TheFirstPacketGivesTheAddress) {
  start();
  const auto begin = std::chrono::steady_clock::now();
  guest->ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(becomes(uuid_5, "10.9.0.5"));
  const auto taken = std::chrono::steady_clock::now() - begin;
  RecordProperty(
      "microseconds",
      static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(taken).count()));
  EXPECT_LT(taken, std::chrono::milliseconds(10));
  EXPECT_EQ(addresses(uuid_6), "");
}

TEST_F(GuestAddressesTest, AGuestThatWasThereBeforeUsIsAskedFirst) {
  // Its packets are long gone: only the kernel's table remembers.
  ASSERT_TRUE(test::ip("neigh add 10.9.0.5 lladdr " + std::string(mac_5) + " dev vbr0 nud stale"));
  alive(*guest, "10.9.0.5");
  start();
  EXPECT_TRUE(becomes(uuid_5, "10.9.0.5"));
}

TEST_F(GuestAddressesTest, AnOldEntryThatNobodyAnswersForIsNoAddress) {
  ASSERT_TRUE(test::ip("neigh add 10.9.0.5 lladdr " + std::string(mac_5) + " dev vbr0 nud stale"));
  start();
  settle();
  EXPECT_EQ(addresses(uuid_5), "10.9.0.101");
}

TEST_F(GuestAddressesTest, Ipv6ComesToo) {
  start();
  alive(*guest, "fd00:9::5");
  // As a client's first packet does.
  ASSERT_TRUE(test::ip("neigh add fd00:9::5 dev vbr0 use 2>/dev/null"));
  EXPECT_TRUE(becomes(uuid_5, "fd00:9::5"));
}

TEST_F(GuestAddressesTest, ASiblingCannotTakeAnAddress) {
  start();
  guest->ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(becomes(uuid_5, "10.9.0.5"));
  sibling->claim("10.9.0.5", mac_6, test::mac_of("vbr0"));
  sibling->ask("10.9.0.5", "10.9.0.1");
  EXPECT_TRUE(becomes(uuid_5, ""));
  EXPECT_EQ(addresses(uuid_6), "");
}

TEST_F(GuestAddressesTest, ASiblingCannotTakeAMac) {
  start();
  guest->ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(becomes(uuid_5, "10.9.0.5"));
  sibling->chatter(mac_5);
  EXPECT_TRUE(becomes(uuid_5, ""));
  guest->chatter(mac_5);
  EXPECT_TRUE(becomes(uuid_5, "10.9.0.5"));
  EXPECT_EQ(addresses(uuid_6), "");
}

TEST_F(GuestAddressesTest, NobodyGetsTheHostsAddressOrOneFromElsewhere) {
  start();
  guest->ask("10.9.0.1", "10.9.0.1");
  guest->claim("10.9.0.1", mac_5, test::mac_of("vbr0"));
  guest->ask("192.0.2.7", "10.9.0.1");
  guest->ask("10.9.0.255", "10.9.0.1");
  settle();
  EXPECT_EQ(addresses(uuid_5), "10.9.0.101");
}

TEST_F(GuestAddressesTest, AMachineOfTheLanKeepsItsAddress) {
  FakeGuest lan("vbr0", "vuplink", "52:54:00:00:09:63");
  start();
  lan.ask("10.9.0.99", "10.9.0.1");
  guest->claim("10.9.0.99", mac_5, test::mac_of("vbr0"));
  settle();
  EXPECT_EQ(addresses(uuid_5), "10.9.0.101");
}

TEST_F(GuestAddressesTest, AnAddressThatNobodyAnswersForIsDroppedAndFoundAgain) {
  start();
  guest->ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(becomes(uuid_5, "10.9.0.5"));
  // The guest does not answer: three seconds until the kernel gives up.
  ASSERT_TRUE(test::ip("neigh change 10.9.0.5 dev vbr0 nud probe"));
  ASSERT_TRUE(becomes(uuid_5, ""));
  alive(*guest, "10.9.0.5");
  EXPECT_TRUE(becomes(uuid_5, "10.9.0.5"));
}

TEST_F(GuestAddressesTest, AStaleOrForgottenEntryIsNoContradiction) {
  start();
  guest->ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(becomes(uuid_5, "10.9.0.5"));
  ASSERT_TRUE(test::ip("neigh flush dev vbr0"));
  settle();
  EXPECT_EQ(addresses(uuid_5), "10.9.0.5 10.9.0.101");
}

TEST_F(GuestAddressesTest, WithoutATapInTheXmlAnyPortDoesThatIsNobodyElses) {
  start(domain_xml("5", nic(mac_5, "")) + domain_xml("6", nic(mac_6, "vtap6")));
  guest->ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(becomes(uuid_5, "10.9.0.5"));
  sibling->chatter(mac_5);
  EXPECT_TRUE(becomes(uuid_5, ""));
}

TEST_F(GuestAddressesTest, TheAddressGoesWhenTheBridgeLosesItsSubnet) {
  start();
  guest->ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(becomes(uuid_5, "10.9.0.5"));
  ASSERT_TRUE(test::ip("address del 10.9.0.1/24 dev vbr0"));
  EXPECT_TRUE(becomes(uuid_5, ""));
}

}  // namespace
}  // namespace vf
