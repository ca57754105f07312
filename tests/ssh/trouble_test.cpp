// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What fails, what is said of it, and how it comes back.

#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "lab.h"

namespace vf::test {
namespace {

class SshTrouble : public SshLab {
 protected:
  Fd service_ = listening_socket();
  TunnelTarget target_ = localhost(local_endpoint(service_.get()));
};

TEST_F(SshTrouble, AKilledMasterComesBackAndSaysWhy) {
  daemon().order(order({target_}));
  Pair pair = through(laid(target_), service_);
  const auto ssh = masters();
  ASSERT_EQ(ssh.size(), 1u);
  kill(ssh[0], SIGKILL);
  EXPECT_TRUE(fails(target_, "killed by signal 9"));
  EXPECT_NE(ending(pair.client), -1);
  EXPECT_TRUE(through(laid(target_), service_).carries());
  EXPECT_NE(masters(), ssh);
}

TEST_F(SshTrouble, TheServerGoesAndComes) {
  daemon().order(order({target_}));
  laid(target_);
  sshd_.reset();
  EXPECT_TRUE(fails(target_, "127.0.0.1"));
  EXPECT_TRUE(fails(target_, "Connection refused"));
  sshd_ = std::make_unique<Sshd>(directory_, file("host_key"));
  EXPECT_TRUE(through(laid(target_), service_).carries());
}

TEST_F(SshTrouble, AKeyThatTheGuestDoesNotKnow) {
  TunnelOrder wrong = order({target_});
  wrong.ssh->key_path = make_key("other_key");
  daemon().order(wrong);
  EXPECT_TRUE(fails(target_, "Permission denied (publickey"));
  // The right one takes effect at once.
  tunnels().order(order({target_}));
  EXPECT_TRUE(through(laid(target_), service_).carries());
}

TEST_F(SshTrouble, AKeyThatOthersCanReadOrNobodyCan) {
  ASSERT_EQ(chmod(key_.c_str(), 0644), 0);
  daemon().order(order({target_}));
  EXPECT_TRUE(fails(target_, "others can read it"));
  TunnelOrder missing = order({target_});
  missing.ssh->key_path = file("no_key");
  tunnels().order(missing);
  EXPECT_TRUE(fails(target_, "no_key: No such file"));
  ASSERT_EQ(chmod(key_.c_str(), 0600), 0);
  ASSERT_EQ(chown(key_.c_str(), 0, 0), 0);
  tunnels().order(order({target_}));
  EXPECT_TRUE(fails(target_, "Permission denied"));
  EXPECT_TRUE(fails(target_, "must belong to the user of virt-forward-ssh"));
}

TEST_F(SshTrouble, NobodyIsAskedForAPassphrase) {
  ASSERT_TRUE(run({"/usr/bin/ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key_}));
  ASSERT_EQ(chown(key_.c_str(), 65534, 65534), 0);
  daemon().order(order({target_}));
  EXPECT_TRUE(fails(target_, "Permission denied (publickey"));
}

TEST_F(SshTrouble, NoKeyAndNoAccount) {
  TunnelOrder without = order({target_});
  without.ssh->key_name.clear();
  without.ssh->key_path.clear();
  daemon().order(without);
  EXPECT_TRUE(fails(target_, "no key is named"));
  without.ssh.reset();
  tunnels().order(without);
  EXPECT_TRUE(fails(target_, "no account is given"));
  TunnelOrder unlisted = order({target_});
  unlisted.ssh->key_path.clear();
  tunnels().order(unlisted);
  EXPECT_TRUE(fails(target_, "lists no key lab"));
}

// Also one of another type, which ssh could take for a new one.
TEST_F(SshTrouble, AnotherHostKeyIsRefusedForGood) {
  daemon().order(order({target_}));
  laid(target_);
  const auto pinned = [&] {
    std::ifstream in(known_hosts());
    return std::string((std::istreambuf_iterator<char>(in)), {});
  };
  const std::string first = pinned();
  EXPECT_NE(first.find(uuid + " ssh-ed25519 "), std::string::npos) << first;
  for (const char* const type : {"ed25519", "ecdsa"}) {
    make_key("host_key", type);
    chown(file("host_key").c_str(), 0, 0);
    sshd_.reset();
    EXPECT_TRUE(run_until([&] { return !reason(target_).empty(); }));
    sshd_ = std::make_unique<Sshd>(directory_, file("host_key"));
    EXPECT_TRUE(fails(target_, "not the one of the first contact")) << type;
    EXPECT_TRUE(fails(target_, known_hosts()));
    EXPECT_EQ(pinned(), first);
  }
  // As the reason tells to.
  std::filesystem::remove(known_hosts());
  EXPECT_TRUE(through(laid(target_), service_).carries());
}

TEST_F(SshTrouble, WithoutAPlaceForTheKeyThereIsNoConnection) {
  daemon().order(order({}));
  TunnelOrder elsewhere = order({target_});
  tunnels().order(elsewhere);
  laid(target_);
  tunnels().forget(uuid);
  std::filesystem::remove(known_hosts());
  ASSERT_EQ(chmod(file("state/known_hosts.d").c_str(), 0500), 0);
  tunnels().order(elsewhere);
  EXPECT_TRUE(fails(target_, "cannot be kept in " + known_hosts()));
}

TEST_F(SshTrouble, TheNextDestinationIsTriedAtOnce) {
  TunnelOrder two = order({target_});
  two.addresses = {*IpAddress::parse("127.0.0.9"), IpAddress::loopback4()};
  daemon().order(two);
  EXPECT_TRUE(through(laid(target_), service_).carries());
}

TEST_F(SshTrouble, AnotherAddressTakesEffectAtOnce) {
  TunnelOrder gone = order({target_});
  gone.addresses = {*IpAddress::parse("127.0.0.9")};
  daemon().order(gone);
  EXPECT_TRUE(fails(target_, "127.0.0.9 port 2222: Connection refused"));
  tunnels().order(order({target_}));
  Pair pair = through(laid(target_), service_);
  // That none is known now is no reason to part.
  TunnelOrder unknown = order({target_});
  unknown.addresses.clear();
  tunnels().order(unknown);
  EXPECT_TRUE(pair.carries());
  tunnels().order(gone);
  EXPECT_TRUE(fails(target_, "127.0.0.9"));
  EXPECT_NE(ending(pair.client), -1);
}

TEST_F(SshTrouble, WithoutAnAddressThatIsTheReason) {
  TunnelOrder unknown = order({target_});
  unknown.addresses.clear();
  daemon().order(unknown);
  EXPECT_TRUE(fails(target_, "no way to the guest's ssh server is known"));
  tunnels().order(order({target_}));
  EXPECT_TRUE(through(laid(target_), service_).carries());
}

TEST_F(SshTrouble, AnEvilNameStartsNothing) {
  TunnelOrder evil = order({target_});
  evil.ssh->user = "-oProxyCommand=touch " + file("evil");
  daemon().order(evil);
  EXPECT_TRUE(fails(target_, "account"));
  evil.ssh->user = "root";
  evil.ssh->key_path = file("$(touch evil)`touch evil`;%h ");
  tunnels().order(evil);
  EXPECT_TRUE(fails(target_, "No such file"));
  EXPECT_TRUE(masters().empty());
  // As a file it is a key like any other.
  std::filesystem::copy_file(key_, evil.ssh->key_path);
  chmod(evil.ssh->key_path.c_str(), 0600);
  chown(evil.ssh->key_path.c_str(), 65534, 65534);
  tunnels().order(order({}));
  tunnels().order(evil);
  EXPECT_TRUE(through(laid(target_), service_).carries());
  EXPECT_FALSE(std::filesystem::exists(file("evil")));
}

TEST_F(SshTrouble, ADeadProgramLeavesNothingAndIsStartedAgain) {
  daemon().order(order({target_}));
  Pair pair = through(laid(target_), service_);
  const pid_t before = program();
  const auto ssh = masters();
  ASSERT_EQ(ssh.size(), 1u);
  kill(before, SIGKILL);
  EXPECT_TRUE(run_until([&] { return !is_running(ssh[0]); })) << "ssh outlives it";
  EXPECT_NE(ending(pair.client), -1);
  EXPECT_TRUE(fails(target_, "virt-forward-ssh"));
  EXPECT_TRUE(through(laid(target_), service_).carries());
  EXPECT_NE(program(), before);
  EXPECT_EQ(masters().size(), 1u);
}

TEST_F(SshTrouble, ANewDaemonFindsEverythingAsItWas) {
  const TunnelOrder first = order({target_});
  TunnelOrder second = first;
  second.uuid = other_uuid;
  daemon().order(first);
  tunnels().order(second);
  Pair kept = through(laid(target_), service_);
  Pair gone = through(laid(target_, other_uuid), service_);
  const auto before = masters();
  ASSERT_EQ(before.size(), 2u);

  daemon().order(first);
  EXPECT_EQ(laid(target_).find(file("sockets/" + uuid)), 0u);
  EXPECT_TRUE(kept.carries());
  EXPECT_TRUE(gone.carries()) << "the new daemon may not have come to it yet";
  EXPECT_EQ(masters(), before);
  tunnels().settled();
  EXPECT_TRUE(run_until([&] { return masters().size() == 1; }));
  EXPECT_NE(ending(gone.client), -1);
  EXPECT_TRUE(kept.carries());
  EXPECT_FALSE(std::filesystem::exists(file("sockets/" + other_uuid)));

  // One that wants nothing of it takes the rest away, and does not start it for that.
  daemon().settled();
  EXPECT_TRUE(run_until([&] { return masters().empty(); }));
  kill(program(), SIGKILL);
  EXPECT_TRUE(run_until([&] { return program() == 0; }));
  daemon().settled();
  EXPECT_TRUE(run_until([&, turns = 0]() mutable { return ++turns > 20; }));
  EXPECT_EQ(program(), 0);
}

TEST_F(SshTrouble, ShutsDown) {
  daemon().order(order({target_}));
  laid(target_);
  const pid_t pid = program();
  bool done = false;
  tunnels().shut_down([&] { done = true; });
  EXPECT_TRUE(run_until([&] { return done && !is_running(pid); }));
  EXPECT_TRUE(std::filesystem::is_empty(file("sockets")));
}

}  // namespace
}  // namespace vf::test
