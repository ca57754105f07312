// SPDX-License-Identifier: LGPL-2.1-or-later

#include "notify/announcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

namespace vf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto second = Announcer::second;

News forwarded(unsigned port, const std::string& domain = "web") {
  News news;
  news.daemon = "the daemon";
  news.path = "/port/" + domain + '/' + std::to_string(port);
  news.domain_path = "/domain/" + domain;
  news.domain = domain;
  news.port = *Port::from(port);
  news.process = "node";
  news.url = "http://127.0.0.1:" + std::to_string(port);
  return news;
}

News asking(unsigned port, const std::string& process, const std::string& domain = "web") {
  News news = forwarded(port, domain);
  news.kind = News::Kind::asking;
  news.process = process;
  news.url.clear();
  return news;
}

std::vector<unsigned> ports_of(const Notice& notice) {
  std::vector<unsigned> ports;
  for (const News& news : notice.news)
    ports.push_back(news.port.number());
  return ports;
}

// Lets time pass until there is nothing more to come by `end`; counts.
std::size_t shown_until(Announcer& announcer, Announcer::Moment end) {
  std::size_t count = 0;
  for (auto next = announcer.next(); next && *next <= end; next = announcer.next()) {
    const auto notices = announcer.due(*next);
    EXPECT_FALSE(notices.empty());
    count += notices.size();
  }
  return count;
}

TEST(Announcer, WhatComesWithinTwoSecondsIsOneNotice) {
  Announcer announcer;
  EXPECT_FALSE(announcer.next());
  announcer.seen(forwarded(3000), 10 * second);
  announcer.seen(forwarded(3001), 11 * second);
  announcer.seen(forwarded(3002), 12 * second - 1);
  EXPECT_EQ(announcer.next(), 12 * second);
  EXPECT_THAT(announcer.due(12 * second - 1), IsEmpty());
  const auto notices = announcer.due(12 * second);
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_THAT(ports_of(notices[0]), ElementsAre(3000, 3001, 3002));
  EXPECT_FALSE(announcer.next());
  announcer.seen(forwarded(3003), 12 * second);
  EXPECT_EQ(announcer.next(), 14 * second);
}

TEST(Announcer, EachDomainHasItsOwn) {
  Announcer announcer;
  announcer.seen(forwarded(3000, "web"), 0);
  announcer.seen(forwarded(3000, "db"), 0);
  announcer.seen(asking(3001, "node", "web"), 0);
  const auto notices = announcer.due(2 * second);
  ASSERT_THAT(notices, SizeIs(3));
  EXPECT_NE(notices[0].id, notices[1].id);
}

TEST(Announcer, PortsThatAskAreOneNoticeForEachProcess) {
  Announcer announcer;
  announcer.seen(asking(3000, "node"), 0);
  announcer.seen(asking(4000, "ruby"), 0);
  announcer.seen(asking(3001, "node"), 0);
  const auto notices = announcer.due(2 * second);
  ASSERT_THAT(notices, SizeIs(2));
  EXPECT_THAT(ports_of(notices[0]), ElementsAre(3000, 3001));
  EXPECT_THAT(ports_of(notices[1]), ElementsAre(4000));
}

TEST(Announcer, SilentRulesAndWhatWentBeforeItsTimeAreNotTold) {
  Announcer announcer;
  News silent = forwarded(3000);
  silent.notify = false;
  announcer.seen(silent, 0);
  EXPECT_FALSE(announcer.next());
  announcer.seen(forwarded(3001), 0);
  EXPECT_THAT(announcer.gone(forwarded(3001).key()), IsEmpty());
  EXPECT_FALSE(announcer.next());
}

TEST(Announcer, ANoticeIsWithdrawnWithItsLastPort) {
  Announcer announcer;
  announcer.seen(forwarded(3000), 0);
  announcer.seen(forwarded(3001), 0);
  const auto notices = announcer.due(2 * second);
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_THAT(announcer.shown(), ElementsAre(notices[0].id));
  EXPECT_THAT(announcer.gone(forwarded(3000).key()), IsEmpty());
  EXPECT_THAT(announcer.gone(forwarded(3001).key()), ElementsAre(notices[0].id));
  EXPECT_THAT(announcer.gone(forwarded(3001).key()), IsEmpty());
  EXPECT_THAT(announcer.shown(), IsEmpty());
}

TEST(Announcer, AServiceThatComesBackIsNotToldOfAgain) {
  Announcer announcer;
  announcer.seen(forwarded(3000), 0);
  announcer.due(2 * second);
  announcer.gone(forwarded(3000).key());
  announcer.seen(forwarded(3000), 60 * second);
  EXPECT_FALSE(announcer.next());
  // Another process there is another service, and a question is asked again.
  News other = forwarded(3000);
  other.process = "ruby";
  announcer.seen(other, 60 * second);
  EXPECT_THAT(announcer.due(62 * second), SizeIs(1));
  announcer.seen(asking(3000, "node"), 70 * second);
  announcer.due(72 * second);
  announcer.gone(forwarded(3000).key());
  announcer.seen(asking(3000, "node"), 80 * second);
  EXPECT_THAT(announcer.due(82 * second), SizeIs(1));
  announcer.gone(forwarded(3000).key());
  announcer.seen(forwarded(3000), 2 * second + Announcer::memory);
  EXPECT_TRUE(announcer.next());
}

TEST(Announcer, AHostileGuestGetsAFewNoticesAndThenOneEachTenMinutes) {
  for (const bool asks : {false, true}) {
    Announcer announcer;
    std::size_t shown = 0;
    Announcer::Moment now = 0;
    const Announcer::Moment day = 24 * 3600 * second;
    std::set<std::string> late;
    std::deque<std::string> open;
    for (unsigned round = 0; now < day; ++round, now += 10 * second) {
      const unsigned port = 1024 + round;
      const std::string process = "p" + std::to_string(round);
      News news = asks ? asking(port, process) : forwarded(port);
      news.process = process;
      announcer.seen(news, now);
      open.push_back(news.key());
      for (const Notice& notice : announcer.due(now)) {
        ++shown;
        if (now > 3600 * second) late.insert(notice.id);
      }
      if (open.size() <= 50) continue;
      announcer.gone(open.front());
      open.pop_front();
    }
    EXPECT_GE(shown, 24u * 6u);
    EXPECT_LE(shown, 24u * 6u + Announcer::domain_burst);
    EXPECT_THAT(late, SizeIs(1));  // each replaces the one before
  }
}

TEST(Announcer, OtherDomainsAreHeardBesideAHostileOne) {
  Announcer announcer;
  for (unsigned port = 1; port <= 5000; ++port)
    announcer.seen(asking(port, "p" + std::to_string(port), "evil"), port);
  const std::size_t before = shown_until(announcer, 10 * second);
  EXPECT_EQ(before, std::size_t{Announcer::domain_burst});
  announcer.seen(forwarded(3000, "web"), 10 * second);
  const auto notices = announcer.due(12 * second);
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_EQ(notices[0].news[0].domain, "web");
}

TEST(Announcer, ManyDomainsShareABound) {
  Announcer announcer;
  for (int domain = 0; domain < 500; ++domain)
    announcer.seen(forwarded(3000, "d" + std::to_string(domain)), 0);
  EXPECT_EQ(shown_until(announcer, 10 * second), std::size_t{Announcer::burst});
  EXPECT_EQ(shown_until(announcer, 3600 * second), 59u);
}

TEST(Announcer, OpensAFewUrlsOfADomainEachOnce) {
  Announcer announcer;
  int opened = 0;
  for (unsigned port = 3000; port < 3100; ++port)
    opened += announcer.may_open(forwarded(port), port);
  EXPECT_EQ(opened, Announcer::open_burst);
  EXPECT_TRUE(announcer.may_open(forwarded(3000, "db"), 4000));
  EXPECT_FALSE(announcer.may_open(forwarded(3000, "db"), 5000));
}

}  // namespace
}  // namespace vf
