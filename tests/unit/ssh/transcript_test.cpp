// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The lines are those of OpenSSH 9.2.

#include "ssh/transcript.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace vf {
namespace {

using testing::ElementsAre;
using testing::Pair;

struct Heard {
  std::vector<std::pair<std::string, std::string>> connections;
  Transcript transcript{[this](const std::string& target, const std::string& reason) {
    connections.emplace_back(target, reason);
  }};
};

constexpr const char* refused_connection =
    "debug1: Connection to port -2 forwarding to localhost port 81 requested.\r\n"
    "debug1: getsockopt TCP_NODELAY: Operation not supported\r\n"
    "debug1: channel 1: new direct-tcpip [direct-tcpip] (inactive timeout: 0)\r\n"
    "channel 1: open failed: connect failed: Connection refused\r\n"
    "debug1: channel 1: free: direct-tcpip: listening port -2 for localhost port 81, connect from  "
    "port 0 to /r/81 port 0, nchannels 5\r\n";

TEST(Transcript, TheLastComplaintIsTheReason) {
  Heard heard;
  EXPECT_EQ(heard.transcript.reason(), "");
  heard.transcript.take(
      "OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19\ndebug1: Connecting to 127.0.0.1\n"
      "Warning: Permanently added 'u' (ED25519) to the list of known hosts.\n");
  EXPECT_EQ(heard.transcript.reason(), "");
  heard.transcript.take("Welcome!\n  \nroot@127.0.0.1: Permission denied (publickey).\r\n");
  EXPECT_EQ(heard.transcript.reason(), "root@127.0.0.1: Permission denied (publickey).");
  EXPECT_FALSE(heard.transcript.key_refused());
}

TEST(Transcript, WhyAKeyIsOfNoUseIsSaidToo) {
  Heard heard;
  heard.transcript.take("Load key \"/k\": error in libcrypto\nx: Permission denied (publickey).\n");
  EXPECT_EQ(heard.transcript.reason(),
            "Load key \"/k\": error in libcrypto; x: Permission denied (publickey).");
}

TEST(Transcript, TheWordsOfAProxyCommandStand) {
  Heard heard;
  heard.transcript.take(
      "virt-forward-ssh: vsock:3:22: Connection reset by peer\n"
      "mm_receive_fd: recvmsg: expected received 1 got 0\r\n"
      "proxy dialer did not pass back a connection\r\n");
  EXPECT_EQ(heard.transcript.reason(), "virt-forward-ssh: vsock:3:22: Connection reset by peer");
}

TEST(Transcript, HostKeys) {
  Heard heard;
  heard.transcript.take("@@@@@@@@@\nHost key verification failed.\n");
  EXPECT_TRUE(heard.transcript.key_refused());
  EXPECT_FALSE(heard.transcript.key_not_pinned());
  heard.transcript.take("Failed to add the host to the list of known hosts (/k).\r\n");
  EXPECT_TRUE(heard.transcript.key_not_pinned());
}

TEST(Transcript, ARefusedConnectionIsNotTheMastersTrouble) {
  Heard heard;
  heard.transcript.take(refused_connection);
  EXPECT_THAT(heard.connections, ElementsAre(Pair("localhost port 81", "Connection refused")));
  EXPECT_EQ(heard.transcript.reason(), "");
}

TEST(Transcript, InWhateverPiecesItComes) {
  Heard heard;
  for (const char byte : std::string(refused_connection))
    heard.transcript.take({&byte, 1});
  EXPECT_THAT(heard.connections, ElementsAre(Pair("localhost port 81", "Connection refused")));
}

TEST(Transcript, ConnectionsAreToldApart) {
  Heard heard;
  heard.transcript.take(
      "debug1: Connection to port -2 forwarding to /run/a.sock port -2 requested.\n"
      "debug1: channel 2: new direct-streamlocal@openssh.com [direct-streamlocal@openssh.com] "
      "(inactive timeout: 0)\n"
      "debug1: Connection to port -2 forwarding to localhost port 80 requested.\n"
      "debug1: channel 3: new [direct-tcpip]\n"  // of older versions
      "debug1: channel 4: new mux-control [mux-control] (inactive timeout: 0)\n"
      "channel 2: open failed: administratively prohibited: open failed\n"
      "debug1: channel 3: free: direct-tcpip: …\n"
      "debug1: channel 2: free: direct-streamlocal@openssh.com: …\n"
      "debug1: channel 4: free: mux-control, nchannels 3\n"
      "channel 9: open failed: connect failed: nobody asked\n");
  EXPECT_THAT(heard.connections,
              ElementsAre(Pair("/run/a.sock port -2", "administratively prohibited: open failed"),
                          Pair("localhost port 80", "")));
}

TEST(Transcript, AnythingIsTakenAndWhatIsShownPrints) {
  Heard heard;
  heard.transcript.take(std::string(1 << 20, 'x'));
  heard.transcript.take("\n");
  EXPECT_LE(heard.transcript.reason().size(), 400u);
  heard.transcript.take("\x1b[2J\xff\n");
  EXPECT_EQ(heard.transcript.reason(), "\\x1b[2J\\xff");
  for (const char* const odd :
       {"debug1: channel \n", "debug1: channel 99999999999999999: new direct-\n", "channel 1\n",
        "channel 1: open failed: \n", "debug1: Connection to port  requested.\n",
        "debug1: Connection to port 1 forwarding to  requested.\n", "debug1: channel 1: free: \n"})
    heard.transcript.take(odd);
  EXPECT_TRUE(heard.connections.empty());
}

}  // namespace
}  // namespace vf
