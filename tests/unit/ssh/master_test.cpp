// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Supervision, with a script in ssh's place. (What ssh does: tests/ssh.)

#include "ssh/master.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "../relay/loopback.h"

namespace vf {
namespace {

using namespace test;
using std::chrono::milliseconds;

const std::string uuid = "d3b2a6f0-0d5e-4c1a-9a55-6b1f0c9d7e01";

class MasterTest : public testing::Test, public Master::Observer {
 protected:
  MasterTest() {
    char name[] = "/tmp/master-test.XXXXXX";
    directory_ = mkdtemp(name);
    settings_.ssh = file("ssh");
    settings_.own_program = "/nowhere";
    settings_.own_keys = true;
    settings_.first_delay = milliseconds(10);
    settings_.longest_delay = milliseconds(40);
    settings_.forward_again = milliseconds(10);
    places_.emplace(*Places::prepare(file("sockets"), file("state")));
    std::ofstream(places_->known_hosts(uuid)) << "a key";
  }
  ~MasterTest() override {
    master_.reset();
    EXPECT_TRUE(std::filesystem::is_empty(file("sockets")));
    std::filesystem::remove_all(directory_);
  }

  // $c is the control socket's path, $n the count of masters so far; `operation` is for -O.
  void script(const std::string& master, const std::string& operation = "exit 0") {
    const std::string beside = file("ssh.new");
    std::ofstream(beside) << "#!/bin/sh\nall=\"$*\"\nwhile [ $# -gt 0 ]; do\n  case $1 in\n"
                             "  -S) c=$2 ;;\n  -O) operation=$2 ;;\n  -L) forward=$2 ;;\n  esac\n"
                             "  shift\ndone\n"
                             "if [ \"$operation\" ]; then\n  echo \"$operation ${forward##*/}\" >> "
                          << file("operations") << "\n  " << operation << "\nfi\necho \"$all\" >> "
                          << file("masters") << "\nn=$(wc -l < " << file("masters") << ")\n"
                          << master << '\n';
    chmod(beside.c_str(), 0755);
    std::filesystem::rename(beside, file("ssh"));
  }
  static inline const std::string logs_in =
      "echo > $c; echo 'debug1: Entering interactive session.' >&2; exec sleep 1000";

  std::string file(const std::string& name) const { return directory_ + '/' + name; }
  std::string text(const std::string& name) const {
    std::ifstream in(file(name));
    return {std::istreambuf_iterator<char>(in), {}};
  }
  long masters() const {
    const std::string lines = text("masters");
    return std::count(lines.begin(), lines.end(), '\n');
  }

  static SshGuest guest(std::vector<AgentEndpoint> targets = {}) {
    return {
        uuid, {Endpoint{IpAddress::loopback4(), *Port::from(22)}}, "root", "", std::move(targets)};
  }
  static AgentEndpoint port(std::uint16_t number) { return {{}, Port::from(number), {}}; }

  Master& start(SshGuest order) {
    Master::Observer& observer = *this;
    master_ = std::make_unique<Master>(*places_, settings_, std::move(order), observer);
    return *master_;
  }
  bool becomes(SshPhase phase) {
    return run_until([&] { return !states_.empty() && states_.back().phase == phase; });
  }
  bool says(const std::string& words) {
    return run_until(
        [&] { return !states_.empty() && states_.back().reason.find(words) != std::string::npos; });
  }

  void state_changed(const SshState& state) override { states_.push_back(state); }
  void tunnel_changed(const SshTunnel& tunnel) override { tunnels_.push_back(tunnel); }
  void connection_ended(const SshRefused& refused) override { refused_.push_back(refused); }

  std::string directory_;
  SshSettings settings_;
  std::optional<Places> places_;
  std::unique_ptr<Master> master_;
  std::vector<SshState> states_;
  std::vector<SshTunnel> tunnels_;
  std::vector<SshRefused> refused_;
};

TEST_F(MasterTest, IsUpWhenItHasLoggedIn) {
  script(logs_in);
  start(guest());
  EXPECT_TRUE(states_.empty()) << "nothing is told inside a call";
  EXPECT_TRUE(becomes(SshPhase::up));
  EXPECT_EQ(master_->state().reason, "");
  EXPECT_EQ(masters(), 1);
}

TEST_F(MasterTest, ItsLastWordsAreTheReason) {
  script("echo Welcome >&2; echo 'ssh: connect to host x: Connection refused' >&2; exit 255");
  start(guest());
  EXPECT_TRUE(becomes(SshPhase::failed));
  EXPECT_EQ(states_.back().reason, "ssh: connect to host x: Connection refused");
  script("exit 3");
  EXPECT_TRUE(says("ended with status 3"));
  script("kill -11 $$");
  EXPECT_TRUE(says("killed by signal 11"));
}

TEST_F(MasterTest, WaitsTwiceAsLongEachTimeUpToABound) {
  settings_.first_delay = milliseconds(20);
  settings_.longest_delay = milliseconds(80);
  script("exit 1");
  const gint64 began = g_get_monotonic_time();
  start(guest());
  EXPECT_TRUE(run_until([&] { return masters() >= 6; }));
  // 20 + 40 + 80 + 80 + 80
  EXPECT_GE(g_get_monotonic_time() - began, 300'000);
}

TEST(Backoff, DoublesUpToABoundAndBeginsAnewAfterWhatLasted) {
  Backoff backoff(milliseconds(1'000), milliseconds(30'000), milliseconds(10'000));
  for (const int expected : {1'000, 2'000, 4'000, 8'000, 16'000, 30'000, 30'000})
    EXPECT_EQ(backoff.next(milliseconds(0)), milliseconds(expected));
  EXPECT_EQ(backoff.next(milliseconds(9'999)), milliseconds(30'000));
  EXPECT_EQ(backoff.next(milliseconds(10'000)), milliseconds(1'000));
  backoff.next(milliseconds(0));
  backoff.reset();
  EXPECT_EQ(backoff.next(milliseconds(0)), milliseconds(1'000));
}

TEST_F(MasterTest, AnotherAccountOrAddressIsTriedAtOnce) {
  settings_.first_delay = settings_.longest_delay = milliseconds(1'000'000);
  script("[ $n -lt 4 ] || { " + logs_in + "; }; exit 1");
  Master& master = start(guest());
  SshGuest other = guest();
  EXPECT_TRUE(run_until([&] { return masters() == 1; }));
  ASSERT_TRUE(becomes(SshPhase::failed));
  other.user = "admin";
  states_.clear();  // what is told from here on is of the next attempt
  master.order(other);
  EXPECT_TRUE(run_until([&] { return masters() == 2; }));
  ASSERT_TRUE(becomes(SshPhase::failed));
  other.destinations.push_back(VsockEndpoint{3, 22});
  master.order(other);
  EXPECT_TRUE(becomes(SshPhase::up));
  other.user = "root";  // also when it is up
  master.order(other);
  EXPECT_TRUE(run_until([&] { return masters() == 5; }));
}

TEST_F(MasterTest, TheSameOrderDoesNotShortenADelay) {
  settings_.first_delay = milliseconds(1'000'000);
  settings_.longest_delay = milliseconds(1'000'000);
  script("exit 1");
  Master& master = start(guest());
  ASSERT_TRUE(becomes(SshPhase::failed));
  master.order(guest());
  master.order(guest({port(80)}));
  int turns = 0;
  EXPECT_TRUE(run_until([&] { return ++turns > 30; }));
  EXPECT_EQ(masters(), 1);
}

TEST_F(MasterTest, OneThatDoesNotLogInIsGivenUp) {
  settings_.log_in_time = milliseconds(50);
  script("exec sleep 1000");
  start(guest());
  EXPECT_TRUE(says("did not complete the log-in"));
}

TEST_F(MasterTest, EachDestinationHasItsReason) {
  SshGuest order = guest();
  order.destinations.push_back(VsockEndpoint{3, 22});
  script("echo \"no way $((n % 2))\" >&2; exit 1");
  start(order);
  EXPECT_TRUE(says("no way 1; no way 0"));
  EXPECT_NE(text("masters").find("127.0.0.1\n"), std::string::npos);
  EXPECT_NE(text("masters").find("vsock-3\n"), std::string::npos);
}

TEST_F(MasterTest, WritesAsMuchAsItLikes) {
  script("yes 'debug1: nothing' | head -n 400000 >&2; yes | tr -d '\\n' | head -c 20000000 >&2; " +
         logs_in);
  start(guest());
  EXPECT_TRUE(becomes(SshPhase::up));
}

TEST_F(MasterTest, ForwardsAreAddedAndTakenAwayOneByOne) {
  script(logs_in);
  Master& master = start(guest({port(80), port(81)}));
  EXPECT_TRUE(run_until([&] { return tunnels_.size() == 2; }));
  EXPECT_EQ(tunnels_[0].path, places_->tunnel(uuid, port(80)));
  EXPECT_EQ(text("operations"), "forward 80:localhost:80\nforward 81:localhost:81\n");
  master.order(guest({port(81), port(82)}));
  EXPECT_TRUE(run_until([&] { return tunnels_.size() == 3; }));
  EXPECT_EQ(text("operations"),
            "forward 80:localhost:80\nforward 81:localhost:81\ncancel 80:localhost:80\n"
            "forward 82:localhost:82\n");
  EXPECT_EQ(master.tunnels().size(), 2u);
  EXPECT_EQ(masters(), 1);
}

TEST_F(MasterTest, WhatIsWithdrawnWhileItIsAddedIsTakenAwayAgain) {
  script(logs_in,
         "[ $operation = cancel ] || until [ -e " + file("go") + " ]; do sleep 0.01; done; exit 0");
  Master& master = start(guest({port(80)}));
  EXPECT_TRUE(run_until([&] { return !text("operations").empty(); }));
  master.order(guest());
  std::ofstream(file("go")) << "";
  EXPECT_TRUE(run_until(
      [&] { return text("operations") == "forward 80:localhost:80\ncancel 80:localhost:80\n"; }));
  EXPECT_TRUE(tunnels_.empty());
}

TEST_F(MasterTest, AForwardThatSshDoesNotMakeIsTriedAgain) {
  script(logs_in, "[ ! -e " + file("go") + " ] || exit 0; echo 'it may not' >&2; exit 255");
  Master& master = start(guest({port(80)}));
  EXPECT_TRUE(run_until([&] { return tunnels_.size() == 1; }));
  EXPECT_EQ(tunnels_[0].reason, "it may not");
  EXPECT_EQ(master.tunnels(), tunnels_);
  std::ofstream(file("go")) << "";
  EXPECT_TRUE(run_until([&] { return tunnels_.size() == 2; }));
  EXPECT_EQ(tunnels_[1].path, places_->tunnel(uuid, port(80)));
}

TEST_F(MasterTest, ALostMasterTakesItsForwardsWithIt) {
  script("[ $n -gt 1 ] || { " + logs_in + "; }; " + logs_in);
  Master& master = start(guest({port(80)}));
  EXPECT_TRUE(run_until([&] { return tunnels_.size() == 1; }));
  master.order([] {
    SshGuest other = guest({port(80)});
    other.destinations = {Endpoint{IpAddress::loopback6(), *Port::from(22)}};
    return other;
  }());
  EXPECT_EQ(master.state().phase, SshPhase::failed);
  EXPECT_TRUE(master.tunnels().empty());
  EXPECT_TRUE(run_until([&] { return tunnels_.size() == 2; }));
  EXPECT_EQ(masters(), 2);
}

TEST_F(MasterTest, RefusedConnectionsAreToldOncePerChange) {
  const std::string refused =
      "echo 'debug1: Connection to port -2 forwarding to localhost port 80 requested.' >&2; "
      "echo 'debug1: channel 2: new direct-tcpip [direct-tcpip]' >&2; "
      "echo 'channel 2: open failed: connect failed: Connection refused' >&2; "
      "echo 'debug1: channel 2: free: direct-tcpip' >&2; ";
  const std::string reached =
      "echo 'debug1: Connection to port -2 forwarding to localhost port 80 requested.' >&2; "
      "echo 'debug1: channel 2: new direct-tcpip [direct-tcpip]' >&2; "
      "echo 'debug1: channel 2: free: direct-tcpip' >&2; ";
  script("echo > $c; " + refused + refused + reached + reached + "exec sleep 1000");
  start(guest({port(80)}));
  EXPECT_TRUE(run_until([&] { return refused_.size() == 2; }));
  EXPECT_EQ(refused_[0].reason, "Connection refused");
  EXPECT_EQ(refused_[1].reason, "");
  EXPECT_EQ(refused_[1].target, port(80));
}

TEST_F(MasterTest, WithoutAProgramThatIsTheReason) {
  start(guest());
  EXPECT_TRUE(says("No such file or directory"));
}

TEST(Places, AreShortEnoughForSockets) {
  char name[] = "/tmp/places-test.XXXXXX";
  const std::string directory = mkdtemp(name);
  const auto places = Places::prepare(directory + "/s", directory + "/k");
  ASSERT_TRUE(places);
  const std::size_t base = directory.size() + 2;
  const AgentEndpoint longest{IpAddress::loopback6(), Port::from(65535), {}};
  const std::size_t temporary = 17;  // behind the control socket's name
  EXPECT_LE(places->tunnel(uuid, longest).size(), places->control(uuid).size() + temporary);
  EXPECT_LE(places->tunnel(uuid, {{}, {}, "/a"}).size(), places->control(uuid).size() + temporary);
  const std::size_t room = 107 - (places->control(uuid).size() + temporary - base);
  const std::string fill = directory + '/';
  EXPECT_TRUE(Places::prepare(fill + std::string(room - fill.size(), 'x'), directory + "/k"));
  EXPECT_FALSE(Places::prepare(fill + std::string(room - fill.size() + 1, 'x'), directory + "/k"));
  EXPECT_NE(places->tunnel(uuid, {{}, {}, "/a"}), places->tunnel(uuid, {{}, {}, "/b"}));
  EXPECT_NE(places->tunnel(uuid, {IpAddress::loopback4(), Port::from(80), {}}),
            places->tunnel(uuid, {{}, Port::from(80), {}}));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace vf
