// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Connections that a guest's agent makes. The agent's vsock socket is a unix socket here.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/listening_socket.h"
#include "loopback.h"
#include "relay/connection.h"
#include "relay/forward.h"
#include "relay_thread.h"
#include "wire/guest.h"

namespace vf {
namespace {

using namespace test;

const GuestToken token{1, 2, 3};

class AgentConnection : public testing::Test {
 protected:
  AgentConnection() { listen_again(); }

  void listen_again() {
    static std::atomic<int> count{0};
    agent_.path =
        "@agent-connection-test-" + std::to_string(getpid()) + '-' + std::to_string(++count);
    auto listening = listen_abstract(agent_);
    listening_ = std::move(std::get<Fd>(listening));
    fcntl(listening_.get(), F_SETFL, 0);
    set_deadline(listening_.get());
  }
  // A forward by the agent, then by the others.
  Endpoint serve(std::vector<RelayEndpoint> others = {}, bool proxy_protocol = false) {
    RelayForward forward{"uuid/a", {{AgentEndpoint{{}, Port::from(80), {}}}}};
    for (RelayEndpoint& other : others)
      forward.target.endpoints.push_back(std::move(other));
    forward.proxy_protocol = proxy_protocol;
    Fd listener = listening_socket();
    const Endpoint host = local_endpoint(listener.get());
    share_ = relay_.serve(std::move(forward), std::move(listener));
    return host;
  }
  void open(const GuestToken& with = token) { share_->domain->agent.open(agent_, with, {}); }

  // A connection of the relay's, the request taken off it.
  Fd asked(const GuestToken& with = token) {
    Fd link = accepted_socket(listening_);
    const std::string bytes = receive(link, GuestRequest::bytes);
    std::array<std::uint8_t, GuestRequest::bytes> raw{};
    std::ranges::copy(bytes, raw.begin());
    const auto request = decode_guest_request(raw);
    EXPECT_TRUE(request);
    if (!request) return link;
    EXPECT_EQ(request->service, GuestService::stream);
    EXPECT_EQ(request->token, with);
    EXPECT_EQ(request->target, (AgentEndpoint{{}, Port::from(80), {}}));
    return link;
  }
  static bool answer(const Fd& link, GuestStatus status = GuestStatus::ok, int error_number = 0,
                     const std::string& behind = {}) {
    GuestReply reply;
    reply.status = status;
    reply.error_number = error_number;
    const auto bytes = encode(reply);
    return send_all(link, std::string(bytes.begin(), bytes.end()) + behind);
  }
  struct Pair {
    Fd client;
    Fd link;
  };
  Pair join(const Endpoint& host) {
    Pair pair{connected_socket(host), {}};
    pair.link = asked();
    EXPECT_TRUE(answer(pair.link));
    return pair;
  }
  static bool is_gone(const Fd& link) { return send(link.get(), "", 0, MSG_NOSIGNAL) < 0; }
  static bool nothing_more(const Fd& link) {
    char byte;
    return recv(link.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  std::string last_event(std::size_t count) {
    EXPECT_TRUE(relay_.events.wait_for(count));
    const auto events = relay_.events.all();
    return events.empty() ? "" : events.back();
  }

  UnixEndpoint agent_;
  Fd listening_;
  std::shared_ptr<ForwardShare> share_;
  RelayThread relay_;
};

TEST_F(AgentConnection, AServerThatSpeaksFirstIsHeardFromItsFirstByte) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  const Fd link = asked();
  EXPECT_TRUE(answer(link, GuestStatus::ok, 0, "SSH-2.0-OpenSSH\r\n"));
  EXPECT_EQ(receive(client, 17), "SSH-2.0-OpenSSH\r\n");
  EXPECT_TRUE(send_all(client, "SSH-2.0-client\r\n"));
  EXPECT_EQ(receive(link, 16), "SSH-2.0-client\r\n");
  EXPECT_EQ(last_event(1), "proven uuid/a");
}

TEST_F(AgentConnection, WhatTheClientSaysGoesAlongWithTheRequest) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "GET / "));
  const Fd link = asked();
  EXPECT_EQ(receive(link, 6), "GET / ") << "before any answer";
  EXPECT_TRUE(send_all(client, "HTTP/1.0\r\n"));
  EXPECT_EQ(receive(link, 10), "HTTP/1.0\r\n");
  EXPECT_TRUE(answer(link));
  EXPECT_TRUE(send_all(client, "\r\n"));
  EXPECT_EQ(receive(link, 2), "\r\n");
  EXPECT_TRUE(nothing_more(link));
  EXPECT_TRUE(send_all(link, "200"));
  EXPECT_EQ(receive(client, 3), "200");
  ASSERT_TRUE(relay_.eventually([](ServedForwards& table, Loop&) {
    return table.counters().at(0).bytes_in == 18 && table.counters().at(0).bytes_out == 3;
  }));
}

// More than goes along, and more than the sockets between hold.
TEST_F(AgentConnection, ALongFirstWordComesWholeAndOnce) {
  std::string word(3 << 20, '\0');
  for (std::size_t i = 0; i < word.size(); ++i)
    word[i] = static_cast<char>(i * 2654435761u >> 13);
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  std::thread speaker([&] {
    send_all(client, word);
    shutdown(client.get(), SHUT_WR);
  });
  const Fd link = asked();
  const std::string early = receive(link, 16 << 10);
  EXPECT_TRUE(answer(link));
  const std::string rest = receive(link, word.size());
  speaker.join();
  EXPECT_EQ(early.size() + rest.size(), word.size());
  EXPECT_TRUE(early + rest == word);
}

TEST_F(AgentConnection, AProxyHeaderGoesAheadOfTheClientsBytes) {
  const Endpoint host = serve({}, true);
  open();
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "hello"));
  const Fd link = asked();
  const std::string said = receive(link, 28 + 5);
  EXPECT_EQ(said.substr(0, 12), std::string("\r\n\r\n\0\r\nQUIT\n", 12));
  EXPECT_EQ(said.substr(28), "hello");
  EXPECT_TRUE(answer(link));
  EXPECT_TRUE(send_all(client, "!"));
  EXPECT_EQ(receive(link, 1), "!");
}

// --- ends

TEST_F(AgentConnection, EachEndIsSaidByItself) {
  const Endpoint host = serve();
  open();
  {
    const Pair pair = join(host);
    EXPECT_TRUE(send_all(pair.client, "question"));
    shutdown(pair.client.get(), SHUT_WR);
    EXPECT_EQ(receive(pair.link, 100), "question");
    EXPECT_FALSE(is_gone(pair.link)) << "half-closed, no reset";
    EXPECT_TRUE(send_all(pair.link, "answer"));
    EXPECT_EQ(receive(pair.client, 6), "answer");
    shutdown(pair.link.get(), SHUT_WR);
    EXPECT_EQ(ending(pair.client), 0);
  }
  {
    const Pair pair = join(host);
    EXPECT_TRUE(send_all(pair.link, "bye"));
    shutdown(pair.link.get(), SHUT_WR);
    EXPECT_EQ(receive(pair.client, 100), "bye");
    EXPECT_TRUE(send_all(pair.client, "still there"));
    EXPECT_EQ(receive(pair.link, 11), "still there");
    shutdown(pair.client.get(), SHUT_WR);
    EXPECT_EQ(ending(pair.link), 0);
  }
  ASSERT_TRUE(relay_.eventually(
      [](ServedForwards& table, Loop&) { return table.counters().at(0).connections == 0; }));
}

TEST_F(AgentConnection, AnAnswerThatIsAllThereIsAtOnce) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  const Fd link = asked();
  EXPECT_TRUE(answer(link, GuestStatus::ok, 0, "all"));
  shutdown(link.get(), SHUT_WR);
  EXPECT_EQ(receive(client, 100), "all");
  EXPECT_EQ(ending(client), 0);
}

TEST_F(AgentConnection, AResetIsAReset) {
  const Endpoint host = serve();
  open();
  {
    Pair pair = join(host);
    EXPECT_TRUE(send_all(pair.link, "cut"));
    EXPECT_EQ(receive(pair.client, 3), "cut");
    pair.link.reset();
    EXPECT_EQ(ending(pair.client), ECONNRESET);
  }
  {
    Pair pair = join(host);
    EXPECT_TRUE(send_all(pair.link, "end"));
    shutdown(pair.link.get(), SHUT_WR);
    EXPECT_EQ(receive(pair.client, 100), "end");
    pair.link.reset();
    pollfd gone{pair.client.get(), POLLERR, 0};
    EXPECT_EQ(poll(&gone, 1, deadline_seconds * 1000), 1) << "a reset behind its end is one too";
  }
  {
    Pair pair = join(host);
    EXPECT_TRUE(send_all(pair.client, "x"));
    EXPECT_EQ(receive(pair.link, 1), "x");
    reset(std::move(pair.client));
    EXPECT_EQ(ending(pair.link), 0);
    EXPECT_TRUE(is_gone(pair.link)) << "no orderly end";
  }
}

// --- refusals

TEST_F(AgentConnection, RefusalsAreToldByTheirErrno) {
  struct Case {
    GuestStatus status;
    int said;
    int told;
  };
  for (const Case& one :
       {Case{GuestStatus::unreachable, ECONNREFUSED, ECONNREFUSED},
        Case{GuestStatus::unreachable, ENOENT, ENOENT},
        Case{GuestStatus::unreachable, EAGAIN, EHOSTUNREACH},
        Case{GuestStatus::unreachable, 0, EHOSTUNREACH}, Case{GuestStatus::denied, 0, EACCES},
        Case{GuestStatus::version, 0, EPROTONOSUPPORT}, Case{GuestStatus::malformed, 0, EPROTO}}) {
    RelayThread relay;
    RelayForward forward{"uuid/a", {{AgentEndpoint{{}, Port::from(80), {}}}}};
    Fd listener = listening_socket();
    const Endpoint host = local_endpoint(listener.get());
    relay.serve(std::move(forward), std::move(listener))->domain->agent.open(agent_, token, {});
    const Fd client = connected_socket(host);
    EXPECT_TRUE(answer(asked(), one.status, one.said));
    EXPECT_EQ(ending(client), ECONNRESET);
    ASSERT_TRUE(relay.events.wait_for(1));
    EXPECT_EQ(relay.events.all()[0], "failing uuid/a " + std::to_string(one.told));
  }
}

TEST_F(AgentConnection, WhatIsNoReplyIsRefused) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  const Fd link = asked();
  EXPECT_TRUE(send_all(link, "220 mail.example.org ESMTP\r\n"));
  EXPECT_EQ(ending(client), ECONNRESET);
  EXPECT_EQ(last_event(1), "failing uuid/a " + std::to_string(EPROTO));
}

TEST_F(AgentConnection, TheNextEndpointGetsAllThatTheClientSaid) {
  const Fd target = listening_socket();
  const Endpoint host = serve({local_endpoint(target.get())});
  open();
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "POST /order\r\n"));
  {
    const Fd link = asked();
    EXPECT_TRUE(nothing_more(link)) << "where another may be asked the first is told nothing";
    EXPECT_TRUE(answer(link, GuestStatus::denied));
  }
  const Fd guest = accepted_socket(target);
  EXPECT_EQ(receive(guest, 13), "POST /order\r\n");
  EXPECT_TRUE(send_all(client, "!"));
  EXPECT_EQ(receive(guest, 1), "!");
  EXPECT_EQ(last_event(1), "proven uuid/a by 1");
}

TEST_F(AgentConnection, WithoutASessionTheNextEndpointIsTriedAtOnce) {
  const Fd target = listening_socket();
  const Endpoint host = serve({local_endpoint(target.get())});
  const Fd client = connected_socket(host);
  EXPECT_TRUE(accepted_socket(target));
  share_->domain->agent.close(EPROTONOSUPPORT);
  const Fd other = connected_socket(host);
  EXPECT_TRUE(accepted_socket(target));
}

TEST_F(AgentConnection, WithoutAnAgentThereIsNoWay) {
  const Endpoint host = serve();
  share_->domain->agent.close(ENOTCONN);
  EXPECT_EQ(ending_at(host), ECONNRESET);
  EXPECT_EQ(last_event(1), "failing uuid/a " + std::to_string(ENOTCONN));
}

// --- agents that come and go

TEST_F(AgentConnection, ASessionThatIsBeingMadeIsWaitedFor) {
  const Endpoint host = serve();
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "early"));
  ASSERT_TRUE(relay_.eventually(
      [](ServedForwards& table, Loop&) { return table.counters().at(0).connections == 1; }));
  open();
  const Fd link = asked();
  EXPECT_EQ(receive(link, 5), "early");
  EXPECT_TRUE(answer(link, GuestStatus::ok, 0, "late"));
  EXPECT_EQ(receive(client, 4), "late");
}

TEST_F(AgentConnection, AnAgentWithAnotherTokenIsAskedAgain) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "early"));
  EXPECT_TRUE(answer(asked(), GuestStatus::wrong_token));
  EXPECT_TRUE(answer(asked(), GuestStatus::busy));
  open({9});
  Fd link;
  do {  // one may be on its way with the token before
    link = accepted_socket(listening_);
  } while (receive(link, GuestRequest::bytes).find('\x09') == std::string::npos);
  EXPECT_EQ(receive(link, 5), "early");
  EXPECT_TRUE(answer(link));
  EXPECT_TRUE(send_all(client, "!"));
  EXPECT_EQ(receive(link, 1), "!");
  EXPECT_EQ(last_event(1), "proven uuid/a");
}

TEST_F(AgentConnection, AnAgentThatIsRestartedIsAskedAgain) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  asked().reset();
  listening_.reset();
  listen_again();
  open();
  const Fd link = asked();
  EXPECT_TRUE(answer(link, GuestStatus::ok, 0, "x"));
  EXPECT_EQ(receive(client, 1), "x");
}

// A guest that is reset closes nothing: its host finds out by the next agent's token.
TEST_F(AgentConnection, WhatAnAgentOfAnEarlierLifeCarriedIsCut) {
  const Endpoint host = serve();
  open();
  const Pair before = join(host);
  const auto cut = [&] {
    relay_.call([](ServedForwards& table, Loop&) { table.cut_outlived("uuid/"); });
  };
  open();  // another session with the same agent
  cut();
  EXPECT_TRUE(send_all(before.client, "still"));
  EXPECT_EQ(receive(before.link, 5), "still");

  open({9});
  const Fd client = connected_socket(host);
  const Fd link = asked({9});
  EXPECT_TRUE(answer(link));
  EXPECT_TRUE(send_all(client, "new"));
  EXPECT_EQ(receive(link, 3), "new");
  cut();
  EXPECT_EQ(ending(before.client), ECONNRESET);
  EXPECT_TRUE(send_all(client, "more"));
  EXPECT_EQ(receive(link, 4), "more");
}

// It may have been served.
TEST_F(AgentConnection, WhatWasSaidToAnAgentThatIsLostIsNotSaidAgain) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "POST"));
  {
    const Fd link = asked();
    EXPECT_EQ(receive(link, 4), "POST");
  }
  EXPECT_EQ(ending(client), ECONNRESET);
  fcntl(listening_.get(), F_SETFL, O_NONBLOCK);
  EXPECT_LT(accept(listening_.get(), nullptr, nullptr), 0);
}

TEST_F(AgentConnection, AnAgentThatHangsIsGivenUp) {
  const Fd target = listening_socket();
  const Endpoint host = serve({local_endpoint(target.get())});
  open();
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "x"));
  const Fd link = asked();
  const Fd guest = accepted_socket(target);
  EXPECT_EQ(receive(guest, 1), "x");
  EXPECT_EQ(receive(link, 1), "");
}

TEST_F(AgentConnection, AnAgentThatIsSlowIsWaitedForWhereThereIsNoOtherWay) {
  const Endpoint host = serve();
  open();
  const Fd client = connected_socket(host);
  const Fd link = asked();
  std::this_thread::sleep_for(connect_timeout + std::chrono::milliseconds(500));
  EXPECT_TRUE(answer(link, GuestStatus::ok, 0, "late"));
  EXPECT_EQ(receive(client, 4), "late");
}

TEST_F(AgentConnection, ADoubtfulTokenIsTold) {
  const Endpoint host = serve();
  std::atomic<int> doubts{0};
  share_->domain->agent.open(agent_, token, [&doubts] { ++doubts; });
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a young session is not doubted
  const Fd client = connected_socket(host);
  EXPECT_TRUE(answer(asked(), GuestStatus::wrong_token));
  EXPECT_TRUE(answer(asked(), GuestStatus::wrong_token));
  EXPECT_TRUE(answer(asked()));
  EXPECT_EQ(doubts, 1);
}

// --- which endpoint comes first

TEST_F(AgentConnection, TheEndpointThatWorkedIsTriedFirst) {
  const Fd target = listening_socket();
  const Endpoint host = serve({local_endpoint(target.get())});
  open();
  std::vector<Fd> kept;
  kept.push_back(connected_socket(host));
  EXPECT_TRUE(answer(asked(), GuestStatus::unreachable, ECONNREFUSED));
  kept.push_back(accepted_socket(target));
  EXPECT_EQ(last_event(1), "proven uuid/a by 1");
  for (int i = 0; i < 5; ++i) {
    kept.push_back(connected_socket(host));
    EXPECT_TRUE(send_all(kept.back(), "x"));
    kept.push_back(accepted_socket(target));
    EXPECT_EQ(receive(kept.back(), 1), "x");
  }
  EXPECT_EQ(relay_.events.all(), std::vector<std::string>{"proven uuid/a by 1"});
  // With another target the first comes first again; it works now, and the daemon learns of it.
  share_->new_target();
  kept.push_back(connected_socket(host));
  EXPECT_TRUE(answer(asked()));
  EXPECT_EQ(last_event(2), "proven uuid/a");
}

TEST_F(AgentConnection, WhereTheOneThatWorkedFailsTheFirstIsTriedAgain) {
  Fd target = listening_socket();
  const Endpoint host = serve({local_endpoint(target.get())});
  open();
  const Fd first = connected_socket(host);
  EXPECT_TRUE(answer(asked(), GuestStatus::denied));
  const Fd guest = accepted_socket(target);
  EXPECT_EQ(last_event(1), "proven uuid/a by 1");
  target.reset();
  const Fd client = connected_socket(host);
  const Fd link = asked();
  EXPECT_TRUE(answer(link, GuestStatus::ok, 0, "x"));
  EXPECT_EQ(receive(client, 1), "x");
}

}  // namespace
}  // namespace vf
