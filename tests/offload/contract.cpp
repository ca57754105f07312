// SPDX-License-Identifier: LGPL-2.1-or-later

#include "contract.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "transfer.h"

namespace vf::test {

void OffloadContract::SetUp() {
  offload = GetParam().make();
  const auto started =
      offload->start({[this](const KernelOffload::Loss& loss) { losses.push_back(loss); }});
  ASSERT_TRUE(started) << started.error().message;
}

void OffloadContract::add(const Forward& forward) {
  const auto applied = offload->apply({}, {&forward.entry, 1});
  ASSERT_TRUE(applied) << applied.error().message;
}

void OffloadContract::remove(const Forward& forward) {
  const auto applied = offload->apply({&forward.entry, 1}, {});
  ASSERT_TRUE(applied) << applied.error().message;
}

std::uint64_t OffloadContract::connections(const Forward& forward) {
  const auto counted = offload->counts();
  EXPECT_TRUE(counted) << counted.error().message;
  const auto found = counted->find(forward.entry.key);
  return found == counted->end() ? 0 : found->second.connections;
}

namespace {

TEST_P(OffloadContract, TakesNewConnectionsPastTheRelay) {
  const Forward forward = make_forward(place, "a/web");
  EXPECT_EQ(connection(forward).reached, Connection::relay);
  add(forward);
  const Connection made = connection(forward);
  EXPECT_EQ(made.reached, Connection::guest);
  EXPECT_TRUE(talks(made.client, made.server));
}

TEST_P(OffloadContract, ClientSeesWhomItAskedFor) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  SocketAddress peer;
  peer.length = sizeof peer.storage;
  ASSERT_EQ(getpeername(made.client.get(), peer.get(), &peer.length), 0);
  EXPECT_EQ(peer.endpoint()->text(), forward.entry.host.text());
}

TEST_P(OffloadContract, CarriesEveryByteBothWays) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  Random random(5);
  constexpr std::uint64_t size = 100 << 20;
  const auto verdict = transfer(std::move(made.client), std::move(made.server),
                                {{size, 7}, {size, 1234567}}, random);
  EXPECT_EQ(verdict.wrong, "");
}

TEST_P(OffloadContract, HalfClosedStaysHalfClosed) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  for (const bool client_first : {true, false}) {
    Connection made = connection(forward);
    ASSERT_EQ(made.reached, Connection::guest);
    Random random(6);
    Scripts scripts{{1 << 20, 7}, {1 << 20, 99}};
    (client_first ? scripts.server : scripts.client).waits_for_end = true;
    const auto verdict = transfer(std::move(made.client), std::move(made.server), scripts, random);
    EXPECT_EQ(verdict.wrong, "");
  }
}

TEST_P(OffloadContract, ResetIsAReset) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  const linger now{1, 0};
  setsockopt(made.server.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  made.server.reset();
  EXPECT_EQ(next_read(made.client), "error");
}

TEST_P(OffloadContract, RefusesAsTheGuestDoes) {
  Forward forward = make_forward(place, "a/web");
  add(forward);
  forward.guest.reset();
  EXPECT_EQ(connect_to(forward.entry.host).error, ECONNREFUSED);
}

TEST_P(OffloadContract, GoneEntryLeavesNewConnectionsToTheRelay) {
  const Forward forward = make_forward(place, "a/web");
  const Forward sibling = make_forward(place, "a/ssh");
  add(forward);
  add(sibling);
  const Connection before = connection(forward);
  ASSERT_EQ(before.reached, Connection::guest);
  remove(forward);
  EXPECT_EQ(connection(forward).reached, Connection::relay);
  EXPECT_EQ(connection(sibling).reached, Connection::guest);
  EXPECT_TRUE(talks(before.client, before.server));
}

TEST_P(OffloadContract, SameStateAgainChangesNothing) {
  const Forward forward = make_forward(place, "a/web");
  const Forward other = make_forward(place, "a/ssh");
  remove(forward);
  add(forward);
  add(forward);
  remove(other);
  EXPECT_EQ(connection(forward).reached, Connection::guest);
  remove(forward);
  remove(forward);
  EXPECT_EQ(connection(forward).reached, Connection::relay);
}

TEST_P(OffloadContract, EntryMovesToAnotherGuestInOneStep) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  Forward moved{forward.entry, {}, place.listening_in_guest("10.9.0.3")};
  moved.entry.guest = endpoint("10.9.0.3", port_of(moved.guest));
  const auto applied = offload->apply({&forward.entry, 1}, {&moved.entry, 1});
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(connection(moved).reached, Connection::guest);
}

TEST_P(OffloadContract, AllOrNothing) {
  const Forward forward = make_forward(place, "a/web");
  const Forward good = make_forward(place, "a/ssh");
  OffloadEntry bad = good.entry;
  bad.host = endpoint("192.0.2.1", 80);
  EXPECT_FALSE(offload->admits(bad));
  EXPECT_TRUE(offload->admits(good.entry));
  add(forward);
  const std::vector<OffloadEntry> added{good.entry, bad};
  EXPECT_FALSE(offload->apply({&forward.entry, 1}, added));
  EXPECT_EQ(connection(forward).reached, Connection::guest);
  EXPECT_EQ(connection(good).reached, Connection::relay);
}

TEST_P(OffloadContract, CutEndsItsOwnConnectionsAndNoOthers) {
  const Forward forward = make_forward(place, "a/web");
  Forward sibling = make_forward(place, "a/ssh");
  // Of the same service in the same guest.
  sibling.entry.guest = forward.entry.guest;
  sibling.guest = Fd(dup(forward.guest.get()));
  std::vector<Connection> relayed;
  for (int i = 0; i < 3; ++i)
    relayed.push_back(connection(forward));
  add(forward);
  add(sibling);
  std::vector<Connection> own;
  std::vector<Connection> others;
  for (int i = 0; i < 20; ++i) {
    own.push_back(connection(forward));
    others.push_back(connection(sibling));
    ASSERT_EQ(own.back().reached, Connection::guest);
    ASSERT_EQ(others.back().reached, Connection::guest);
    EXPECT_TRUE(talks(own.back().client, own.back().server));
  }
  Client direct = connect_to(forward.entry.guest);
  const Fd direct_server = accepted(forward.guest);

  remove(forward);
  offload->cut({&forward.entry.key, 1});
  for (const Connection& made : own) {
    EXPECT_EQ(next_read(made.client), "error");
    EXPECT_EQ(next_read(made.server), "error");
  }
  for (const Connection& made : others)
    EXPECT_TRUE(talks(made.client, made.server));
  for (const Connection& made : relayed)
    EXPECT_TRUE(talks(made.client, made.server));
  EXPECT_TRUE(talks(direct.socket, direct_server));
  EXPECT_EQ(connections(forward), 0);
  EXPECT_EQ(connections(sibling), 20);
}

TEST_P(OffloadContract, CutOfAForwardThatIsStillThere) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  offload->cut({&forward.entry.key, 1});
  EXPECT_EQ(next_read(made.client), "error");
  EXPECT_EQ(connection(forward).reached, Connection::guest);
}

TEST_P(OffloadContract, CutEndsHalfClosedConnections) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  shutdown(made.client.get(), SHUT_WR);
  EXPECT_EQ(next_read(made.server), "end");
  remove(forward);
  offload->cut({&forward.entry.key, 1});
  EXPECT_EQ(next_read(made.client), "error");
}

TEST_P(OffloadContract, CountsWhatIsEstablished) {
  const Forward forward = make_forward(place, "a/web");
  const Forward sibling = make_forward(place, "b/web");
  const Connection relayed = connection(forward);
  add(forward);
  add(sibling);
  EXPECT_EQ(connections(forward), 0);
  std::vector<Connection> made;
  for (int i = 0; i < 3; ++i)
    made.push_back(connection(forward));
  const Connection other = connection(sibling);
  EXPECT_EQ(connections(forward), 3);
  EXPECT_EQ(connections(sibling), 1);

  shutdown(made[0].client.get(), SHUT_WR);
  EXPECT_EQ(connections(forward), 3);
  made[1].client.reset();
  made[1].server.reset();
  EXPECT_TRUE(run_until([&] { return connections(forward) == 2; }));
  remove(forward);
  EXPECT_EQ(connections(forward), 2);
  const Connection later = connection(forward);
  EXPECT_EQ(later.reached, Connection::relay);
  EXPECT_EQ(connections(forward), 2);
}

TEST_P(OffloadContract, CountedBytesAreNotTooFew) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(talks(made.client, made.server));
  const auto counted = offload->counts();
  ASSERT_TRUE(counted);
  const KernelOffload::Count& count = counted->at("a/web");
  EXPECT_GE(count.bytes_in.value_or(1000), 1000);
  EXPECT_GE(count.bytes_out.value_or(1000), 1000);
}

TEST_P(OffloadContract, NothingIsRefusedWhenItIsTakenAway) {
  const Forward forward = make_forward(place, "a/web");
  const Forward loaded = make_forward(place, "a/load");
  add(forward);
  add(loaded);
  const Connection before = connection(forward);
  ASSERT_EQ(before.reached, Connection::guest);
  std::atomic<bool> enough = false;
  std::atomic<int> served = 0;
  std::thread load([&] {
    while (!enough) {
      const Connection made = connection(loaded);
      if (made.reached == Connection::nobody || !talks(made.client, made.server)) {
        ADD_FAILURE() << "new connection " << served << " reached " << text(made.reached);
        return;
      }
      ++served;
    }
  });
  EXPECT_TRUE(run_until([&] { return served > 0; }));
  EXPECT_TRUE(GetParam().take_away());
  EXPECT_TRUE(talks(before.client, before.server));
  EXPECT_TRUE(run_until([&] { return !losses.empty(); }));
  const int then = served;
  EXPECT_TRUE(run_until([&] { return served > then; }));
  enough = true;
  load.join();
  ASSERT_EQ(losses.size(), 1);
  EXPECT_NE(losses[0].reason, "");
  EXPECT_TRUE(talks(before.client, before.server));
  EXPECT_EQ(connection(forward).reached, losses[0].mended ? Connection::guest : Connection::relay);
}

TEST_P(OffloadContract, WorksAgainAfterALoss) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Connection before = connection(forward);
  EXPECT_TRUE(GetParam().take_away());
  EXPECT_TRUE(run_until([&] { return !losses.empty(); }));
  add(forward);
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  EXPECT_TRUE(talks(made.client, made.server));
  remove(forward);
  offload->cut({&forward.entry.key, 1});
  EXPECT_EQ(next_read(before.client), "error");
  EXPECT_EQ(next_read(made.client), "error");
}

TEST_P(OffloadContract, OtherPortsAndAddressesAreNotTouched) {
  const Forward forward = make_forward(place, "a/web");
  const unsigned port = forward.entry.host.port.number();
  const Fd elsewhere = listening("127.0.0.1");
  const Fd same_port = listening("127.0.0.2", port);
  add(forward);
  for (const auto& [listener, address] :
       {std::pair(&elsewhere, "127.0.0.1"), std::pair(&same_port, "127.0.0.2")}) {
    const Client client = connect_to(endpoint(address, port_of(*listener)));
    EXPECT_EQ(client.error, 0);
    EXPECT_TRUE(talks(client.socket, accepted(*listener)));
  }
}

TEST_P(OffloadContract, OtherNetworkNamespacesAreNotTouched) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Namespace other;
  for (const Namespace* there : {&other, &place.guest()})
    there->run([&] {
      const Fd listener = listening("127.0.0.1", forward.entry.host.port.number());
      const Client client = connect_to(forward.entry.host);
      EXPECT_EQ(client.error, 0);
      EXPECT_TRUE(talks(client.socket, accepted(listener)));
    });
}

TEST_P(OffloadContract, EndsWithItsOwner) {
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Connection before = connection(forward);
  ASSERT_EQ(before.reached, Connection::guest);
  offload.reset();
  EXPECT_EQ(connection(forward).reached, Connection::relay);
  if (GetParam().ends_connections)
    EXPECT_EQ(next_read(before.client), "error");
  else
    EXPECT_TRUE(talks(before.client, before.server));
}

TEST_P(OffloadContract, EndsWithItsProcess) {
  const Forward forward = make_forward(place, "a/web");
  offload.reset();
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const pid_t daemon = fork();
  if (daemon == 0) {
    const auto own = GetParam().make();
    if (!own->start({}) || !own->apply({}, {&forward.entry, 1})) _exit(1);
    if (write(ready[1], "", 1) != 1) _exit(1);
    while (true)
      pause();
  }
  const Fd told(ready[0]);
  close(ready[1]);
  char byte = 0;
  ASSERT_EQ(read(told.get(), &byte, 1), 1);
  const Connection before = connection(forward);
  EXPECT_EQ(before.reached, Connection::guest);
  kill(daemon, SIGKILL);
  waitpid(daemon, nullptr, 0);
  EXPECT_EQ(connection(forward).reached, Connection::relay);
  EXPECT_TRUE(talks(before.client, before.server));
}

TEST_P(OffloadContract, TenThousandElementsInOneStep) {
  const Forward forward = make_forward(place, "a/web");
  const unsigned own = forward.entry.host.port.number();
  std::vector<OffloadEntry> many;
  for (unsigned port = 20000; many.size() < 10000; ++port)
    if (port != own)
      many.push_back({"m/" + std::to_string(port), Protocol::tcp, endpoint("127.0.0.1", port),
                      endpoint("10.9.0.3", 1 + port % 1000), "vbr0"});
  many.push_back(forward.entry);
  ASSERT_TRUE(offload->apply({}, many));
  EXPECT_EQ(connection(forward).reached, Connection::guest);
  ASSERT_TRUE(offload->apply(many, {}));
  EXPECT_EQ(connection(forward).reached, Connection::relay);
}

}  // namespace
}  // namespace vf::test
