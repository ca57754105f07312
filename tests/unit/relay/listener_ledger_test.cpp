// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/listener_ledger.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace vf {
namespace {

ListenerKey key(unsigned port, bool udp = false, const std::string& address = "0.0.0.0") {
  return {udp, *IpAddress::parse(address), *Port::from(port)};
}

GuestListener listener(unsigned port, const std::string& name = "") {
  GuestListener made;
  made.key = key(port);
  made.name = name;
  return made;
}

// "+80 nginx", "-80", "synced".
std::vector<std::string> told(ListenerLedger& ledger, std::size_t most = ~std::size_t{0}) {
  std::vector<std::string> all;
  while (all.size() < most) {
    auto news = ledger.next();
    if (!news) break;
    if (const auto* listens = std::get_if<GuestListener>(&*news))
      all.push_back('+' + std::to_string(listens->key.port.number()) +
                    (listens->name.empty() ? "" : ' ' + listens->name));
    else if (const auto* gone = std::get_if<ListenerKey>(&*news))
      all.push_back('-' + std::to_string(gone->port.number()));
    else
      all.push_back("synced");
  }
  EXPECT_TRUE(all.size() == most || !ledger.has_news());
  return all;
}

using Told = std::vector<std::string>;

TEST(ListenerLedger, TellsAnAccountThenChanges) {
  ListenerLedger ledger;
  ledger.begin();
  ledger.listens(listener(80, "nginx"));
  ledger.listens(listener(22));
  EXPECT_EQ(told(ledger), (Told{"+80 nginx", "+22"})) << "before the account is complete";
  ledger.complete(0);
  EXPECT_EQ(told(ledger), Told{"synced"});
  EXPECT_EQ(told(ledger), Told{});
  ledger.listens(listener(80, "apache"));
  EXPECT_EQ(told(ledger), (Told{"+80 apache", "synced"})) << "another owner is a change";
  ledger.gone(key(22));
  EXPECT_EQ(told(ledger), (Told{"-22", "synced"}));
}

TEST(ListenerLedger, WhatIsNotNamedAgainIsGone) {
  ListenerLedger ledger;
  ledger.begin();
  for (const unsigned port : {80u, 81u, 82u})
    ledger.listens(listener(port, "a"));
  ledger.complete(0);
  told(ledger);
  ledger.begin();
  ledger.listens(listener(80, "a"));
  ledger.listens(listener(82, "b"));
  EXPECT_EQ(told(ledger), Told{"+82 b"}) << "the same again is no news; nothing is gone yet";
  ledger.complete(0);
  EXPECT_EQ(told(ledger), (Told{"-81", "synced"}));
}

TEST(ListenerLedger, ManyChangesOfOneSocketAreOne) {
  ListenerLedger ledger;
  ledger.begin();
  ledger.complete(0);
  told(ledger);
  for (int i = 0; i < 20'000; ++i) {
    ledger.listens(listener(80, std::to_string(i)));
    if (i % 3 == 0) ledger.gone(key(80));
  }
  ledger.listens(listener(80, "last"));
  EXPECT_EQ(told(ledger), (Told{"+80 last", "synced"}));
  // What came and went untold leaves nothing.
  for (int i = 0; i < 20'000; ++i) {
    ledger.listens(listener(81));
    ledger.gone(key(81));
  }
  EXPECT_EQ(told(ledger), Told{});
  EXPECT_EQ(ledger.size(), 1u);
}

TEST(ListenerLedger, KeepsSoManyAndCountsTheRest) {
  ListenerLedger ledger;
  ledger.begin();
  for (unsigned port = 1; port <= 5000; ++port)
    ledger.listens(listener(port));
  ledger.complete(7);
  const auto all = told(ledger);
  ASSERT_EQ(all.size(), ListenerLedger::max_listeners + 1);
  EXPECT_EQ(all.back(), "synced");
  EXPECT_EQ(ledger.left_out(), 5000 - ListenerLedger::max_listeners + 7);
  ledger.gone(key(5000));
  EXPECT_EQ(told(ledger), Told{"synced"});
  EXPECT_EQ(ledger.left_out(), 5000 - ListenerLedger::max_listeners + 6);
  // One that is kept may change.
  ledger.listens(listener(1, "x"));
  EXPECT_EQ(told(ledger), (Told{"+1 x", "synced"}));
}

// Sockets that come and go, none of which is told.
TEST(ListenerLedger, IsBoundedWhateverComes) {
  ListenerLedger ledger;
  ledger.begin();
  ledger.complete(0);
  for (unsigned round = 0; round < 4; ++round) {
    for (unsigned port = 1; port <= 65535; ++port) {
      ledger.listens(listener(port));
      if (round % 2 == 0) ledger.gone(key(port));
    }
    told(ledger, round * 100);
    for (unsigned port = 1; port <= 65535; ++port)
      ledger.gone(key(port));
    ASSERT_LE(ledger.size(), 2 * ListenerLedger::max_listeners);
  }
}

TEST(ListenerLedger, TextsAndAddressesAreMadePlain) {
  ListenerLedger ledger;
  ledger.begin();
  GuestListener hostile = listener(80, std::string("\x1b]0;owned\x07\xff"));
  hostile.key.address = *IpAddress::parse("::ffff:127.0.0.1");
  hostile.command = std::string(10'000'000, 'c');
  hostile.container =
      "\xe2\x80\xae"
      "txt";
  ledger.listens(hostile);
  const auto news = ledger.next();
  ASSERT_TRUE(news);
  const auto& plain = std::get<GuestListener>(*news);
  EXPECT_EQ(plain.key.address.text(), "127.0.0.1");
  EXPECT_EQ(plain.name, "\\x1b]0;owned\\x07\\xff");
  EXPECT_EQ(plain.command.size(), GuestListener::max_command_bytes);
  EXPECT_EQ(plain.container, "\\xe2\\x80\\xaetxt");
  ledger.gone(hostile.key);
  EXPECT_EQ(told(ledger), Told{"-80"});
}

TEST(ListenerLedger, UdpCanBeLetGo) {
  ListenerLedger ledger;
  ledger.begin();
  ledger.listens(listener(80));
  GuestListener dns;
  dns.key = key(53, true);
  ledger.listens(dns);
  ledger.complete(0);
  told(ledger);
  ledger.all_udp_gone();
  EXPECT_EQ(told(ledger), (Told{"-53", "synced"}));
}

}  // namespace
}  // namespace vf
