// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The relay program without a daemon.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/relay_endpoint.h"
#include "loopback.h"

namespace vf {
namespace {

using namespace test;

class Standalone {
 public:
  // Without `log` its standard error is kept for errors().
  explicit Standalone(std::vector<std::string> arguments, Fd log = Fd()) {
    int out[2];
    int err[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
    out_ = Fd(out[0]);
    err_ = Fd(err[0]);
    if (log) dup3(log.get(), err[1], O_CLOEXEC);
    pid_ = fork();
    if (pid_ == 0) {
      alarm(deadline_seconds);  // one that should have ended and did not fails its test
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      std::vector<char*> argv;
      arguments.insert(arguments.begin(), "virt-forward-relay");
      for (std::string& argument : arguments)
        argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(VF_RELAY_PROGRAM_PATH, argv.data());
      _exit(127);
    }
    close(out[1]);
    close(err[1]);
  }
  ~Standalone() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  std::string line() {
    std::string line;
    char byte;
    while (read(out_.get(), &byte, 1) == 1 && byte != '\n')
      line += byte;
    return line;
  }
  // After its end.
  std::string errors() {
    std::string text;
    char bytes[4096];
    for (ssize_t count; (count = read(err_.get(), bytes, sizeof bytes)) > 0;)
      text.append(bytes, static_cast<std::size_t>(count));
    return text;
  }
  int wait_for_end() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int terminate(int signal_number = SIGTERM) {
    kill(pid_, signal_number);
    return wait_for_end();
  }

 private:
  Fd out_;
  Fd err_;
  pid_t pid_ = 0;
};

// Where a line like "tcp:127.0.0.1:34567 -> …" says that it listens.
Endpoint where(const std::string& line) {
  const auto begin = line.find(':') + 1;
  const auto colon = line.rfind(':', line.find(" -> "));
  std::string host = line.substr(begin, colon - begin);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return {*IpAddress::parse(host),
          *Port::parse(line.substr(colon + 1, line.find(" -> ") - colon - 1))};
}

void expect_carried(const Fd& client, const Fd& guest) {
  EXPECT_TRUE(send_all(client, "ping"));
  EXPECT_EQ(receive(guest, 4), "ping");
  EXPECT_TRUE(send_all(guest, "pong"));
  EXPECT_EQ(receive(client, 4), "pong");
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(ending(guest), 0);
  EXPECT_TRUE(send_all(guest, "late"));
  EXPECT_EQ(receive(client, 4), "late");
  shutdown(guest.get(), SHUT_WR);
  EXPECT_EQ(ending(client), 0);
}

TEST(Standalone, ServesEachPairAndSaysWhere) {
  const Fd first = listening_socket();
  const Fd second = listening_socket();
  const std::string to_first = "tcp:" + local_endpoint(first.get()).text();
  const std::string to_second = "tcp:" + local_endpoint(second.get()).text();
  Standalone relay({"tcp:127.0.0.1:0", to_first, "tcp:127.0.0.1:0", to_second});
  const std::string one = relay.line();
  const std::string two = relay.line();
  EXPECT_TRUE(one.starts_with("tcp:127.0.0.1:") && one.ends_with(" -> " + to_first)) << one;
  EXPECT_TRUE(two.ends_with(" -> " + to_second)) << two;
  const Fd client_one = connected_socket(where(one));
  const Fd client_two = connected_socket(where(two));
  ASSERT_TRUE(client_one && client_two);
  expect_carried(client_one, accepted_socket(first));
  expect_carried(client_two, accepted_socket(second));
  EXPECT_EQ(relay.terminate(), 0);
  EXPECT_EQ(relay.errors(), "");
}

TEST(Standalone, CarriesDatagrams) {
  const Fd guest(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  set_deadline(guest.get());
  const auto any = SocketAddress::from(IpAddress::loopback4(), std::nullopt);
  ASSERT_EQ(bind(guest.get(), any.get(), any.length), 0);
  const std::string target = "udp:" + local_endpoint(guest.get()).text();
  Standalone relay({"udp:127.0.0.1:0", target});
  const std::string line = relay.line();
  EXPECT_TRUE(line.starts_with("udp:127.0.0.1:") && line.ends_with(" -> " + target)) << line;
  const Fd client(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  set_deadline(client.get());
  const Endpoint host = where(line);
  const auto address = SocketAddress::from(host.address, host.port);
  ASSERT_EQ(connect(client.get(), address.get(), address.length), 0);
  ASSERT_EQ(send(client.get(), "x", 1, 0), 1);
  SocketAddress from;
  from.length = sizeof from.storage;
  char byte = 0;
  EXPECT_EQ(recvfrom(guest.get(), &byte, 1, 0, from.get(), &from.length), 1);
  EXPECT_EQ(sendto(guest.get(), "y", 1, 0, from.get(), from.length), 1);
  EXPECT_EQ(receive(client, 1), "y");
  EXPECT_EQ(relay.terminate(), 0);
}

TEST(Standalone, EndsOnInterruptToo) {
  Standalone relay({"tcp:127.0.0.1:0", "tcp:127.0.0.1:9"});
  relay.line();
  EXPECT_EQ(relay.terminate(SIGINT), 0);
}

TEST(Standalone, WhereNobodyListensTheClientIsResetAndTheReasonLogged) {
  Fd closed = bound_socket();
  const std::string target = "tcp:" + local_endpoint(closed.get()).text();
  Standalone relay({"tcp:127.0.0.1:0", target});
  const Fd client = connected_socket(where(relay.line()));
  EXPECT_EQ(ending(client), ECONNRESET);
  EXPECT_EQ(relay.terminate(), 0);
  const std::string errors = relay.errors();
  EXPECT_NE(errors.find("Connection refused"), std::string::npos) << errors;
  EXPECT_NE(errors.find(target), std::string::npos) << errors;
}

TEST(Standalone, ABusyPortIsExitFiveAndNothingIsServed) {
  const Fd taken = listening_socket();
  const std::string busy = "tcp:" + local_endpoint(taken.get()).text();
  Standalone relay({"tcp:127.0.0.1:0", "tcp:127.0.0.1:9", busy, "tcp:127.0.0.1:9"});
  EXPECT_EQ(relay.line(), "");
  EXPECT_EQ(relay.wait_for_end(), 5);
  EXPECT_NE(relay.errors().find(busy + " is in use by another program"), std::string::npos);
}

TEST(Standalone, WrongUsageIsExitTwoAndNamesWhatIsWrong) {
  const auto usage = [](std::vector<std::string> arguments, const std::string& word) {
    Standalone relay(std::move(arguments));
    EXPECT_EQ(relay.wait_for_end(), 2) << word;
    const std::string errors = relay.errors();
    EXPECT_NE(errors.find(word), std::string::npos) << errors;
  };
  usage({"tcp:127.0.0.1:0"}, "endpoints come in pairs");
  usage({"tcp:127.0.0.1:0", "tcp:127.0.0.1:0"}, "port 0 is nothing to connect to");
  usage({"tcp:127.0.0.1:99999", "tcp:127.0.0.1:1"}, "\"99999\" is not a port");
  usage({"tcp:nowhere:1", "tcp:127.0.0.1:1"}, "is not an IPv4 or IPv6 address");
  usage({"--control-fd=3", "tcp:127.0.0.1:0", "tcp:127.0.0.1:1"}, "--control-fd");
  usage({"--idle-timeout=-1", "tcp:127.0.0.1:0", "tcp:127.0.0.1:1"}, "not negative");
  usage({"--proxy-protocol"}, "go with endpoints");
  usage({"udp:127.0.0.1:0", "tcp:127.0.0.1:1"}, "datagrams go to udp");
  usage({"--proxy-protocol", "udp:127.0.0.1:0", "udp:127.0.0.1:1"}, "is for streams");
  usage({}, "nothing to serve");
  const std::string round = "leads back to itself";
  usage({"tcp:127.0.0.1:6001", "tcp:127.0.0.1:6001"}, round);
  usage({"tcp:0.0.0.0:6001", "tcp:127.0.0.1:6001"}, round);
  usage({"udp:[::1]:6001", "udp:[::1]:6002", "udp:[::1]:6002", "udp:[::1]:6001"}, round);
  usage({"unix:@round", "unix:@round"}, round);
}

TEST(Standalone, WhereItCannotSayThePortsItEnds) {
  const std::string command = "timeout 10 " VF_RELAY_PROGRAM_PATH
                              " tcp:127.0.0.1:0 tcp:127.0.0.1:9 > /dev/full 2> /dev/null";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST(Standalone, AChainIsNoRound) {
  const Fd target = listening_socket();
  const std::string end = "tcp:" + local_endpoint(target.get()).text();
  const std::string middle = "unix:@relay-chain-" + std::to_string(getpid());
  Standalone relay({"tcp:127.0.0.1:0", middle, middle, end});
  EXPECT_NE(relay.line(), "");
  EXPECT_NE(relay.line(), "");
}

TEST(Standalone, ALogThatNobodyReadsHoldsUpNobody) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  const std::string dust(4096, '.');
  while (write(writer.get(), dust.data(), dust.size()) > 0) {
  }
  fcntl(writer.get(), F_SETFL, 0);  // as anybody's standard error: it blocks
  const Fd target = listening_socket();
  const std::string to = "tcp:" + local_endpoint(target.get()).text();
  Standalone relay({"--max-connections=1", "tcp:127.0.0.1:0", to}, std::move(writer));
  const Endpoint host = where(relay.line());
  const Fd first = connected_socket(host);
  const Fd guest = accepted_socket(target);
  const Fd second = connected_socket(host);
  EXPECT_EQ(ending(second), ECONNRESET);  // too many: a log line
  EXPECT_TRUE(send_all(first, "still"));
  EXPECT_EQ(receive(guest, 5), "still");
  EXPECT_EQ(relay.terminate(), 0);
}

class StandaloneSocket : public testing::Test {
 protected:
  StandaloneSocket() {
    char name[] = "/tmp/relay-standalone-test.XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/web.sock";
  }
  ~StandaloneSocket() override {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  bool exists() const { return access(path_.c_str(), F_OK) == 0; }
  Fd connected() const {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    set_deadline(fd.get());
    const auto address = socket_address(UnixEndpoint{path_});
    return connect(fd.get(), address->get(), address->length) == 0 ? std::move(fd) : Fd();
  }

  std::string directory_;
  std::string path_;
};

TEST_F(StandaloneSocket, ListensAtAPathWithItsModeAndTakesTheFileAway) {
  const Fd guest = listening_socket();
  const std::string target = "tcp:" + local_endpoint(guest.get()).text();
  Standalone relay({"unix:" + path_ + ",mode=0640", target});
  EXPECT_EQ(relay.line(), "unix:" + path_ + " -> " + target);
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  const Fd client = connected();
  ASSERT_TRUE(client);
  expect_carried(client, accepted_socket(guest));
  EXPECT_EQ(relay.terminate(), 0);
  EXPECT_FALSE(exists());
}

TEST_F(StandaloneSocket, ReplacesTheFileOfOneThatWasKilledAndNotOfOneThatLives) {
  Standalone killed({"unix:" + path_, "tcp:127.0.0.1:9"});
  killed.line();
  EXPECT_EQ(killed.terminate(SIGKILL), -1);
  EXPECT_TRUE(exists());
  Standalone second({"unix:" + path_, "tcp:127.0.0.1:9"});
  EXPECT_NE(second.line(), "");
  Standalone third({"unix:" + path_, "tcp:127.0.0.1:9"});
  EXPECT_EQ(third.wait_for_end(), 5);
  EXPECT_NE(third.errors().find(path_ + " is in use"), std::string::npos);
  EXPECT_TRUE(connected());
  EXPECT_EQ(second.terminate(), 0);
}

TEST_F(StandaloneSocket, AnAbstractNameHasNoFile) {
  const UnixEndpoint name{"@" + path_};
  Standalone relay({"unix:" + name.path, "tcp:127.0.0.1:9"});
  EXPECT_EQ(relay.line(), "unix:" + name.path + " -> tcp:127.0.0.1:9");
  EXPECT_FALSE(exists());
  Standalone second({"unix:" + name.path, "tcp:127.0.0.1:9"});
  EXPECT_EQ(second.wait_for_end(), 5);
  EXPECT_EQ(relay.terminate(), 0);
}

TEST(Standalone, OptionsHoldForEachPair) {
  const Fd guest = listening_socket();
  Standalone relay({"--proxy-protocol", "--max-connections=1", "tcp:127.0.0.1:0",
                    "tcp:" + local_endpoint(guest.get()).text()});
  const Endpoint host = where(relay.line());
  const Fd client = connected_socket(host);
  const Fd accepted = accepted_socket(guest);
  EXPECT_EQ(receive(accepted, 12), std::string("\r\n\r\n\0\r\nQUIT\n", 12));
  EXPECT_EQ(ending_at(host), ECONNRESET);
}

TEST(Standalone, AnAddressThatIsNotOursIsAnError) {
  Standalone relay({"tcp:192.0.2.1:0", "tcp:127.0.0.1:9"});
  EXPECT_EQ(relay.wait_for_end(), 1);
  EXPECT_NE(relay.errors().find("not at an address of this host"), std::string::npos);
}

}  // namespace
}  // namespace vf
