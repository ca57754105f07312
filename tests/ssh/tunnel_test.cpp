// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Tunnels through a real server: every byte, every kind of end, and what is ordered while others
// carry something.

#include <glib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/unix_address.h"
#include "lab.h"

namespace vf::test {
namespace {

using SshTunnel = SshLab;

TEST_F(SshTunnel, CarriesBothWaysAndHalfClosed) {
  const Fd service = listening_socket();
  const TunnelTarget target = localhost(local_endpoint(service.get()));
  daemon().order(order({target}));
  EXPECT_NE(reason(target), "");
  Pair pair = through(laid(target), service);
  EXPECT_TRUE(pair.carries());
  EXPECT_GT(changes_, 0);

  shutdown(pair.client.get(), SHUT_WR);
  EXPECT_EQ(ending(pair.server), 0);
  EXPECT_TRUE(send_all(pair.server, "still"));
  EXPECT_EQ(receive(pair.client, 5), "still");
  pair.server.reset();
  EXPECT_EQ(ending(pair.client), 0);

  Pair other = through(laid(target), service);
  shutdown(other.server.get(), SHUT_WR);
  EXPECT_EQ(ending(other.client), 0);
  EXPECT_TRUE(send_all(other.client, "still"));
  EXPECT_EQ(receive(other.server, 5), "still");
}

// Numbers that differ all over, so that loss, doubling and reordering show.
class Stream {
 public:
  static constexpr std::size_t bytes = 100u << 20;
  static void write(const Fd& to) {
    std::vector<std::uint32_t> block(1 << 16);
    std::uint32_t next = 0;
    for (std::size_t sent = 0; sent < bytes; sent += block.size() * sizeof next) {
      std::ranges::generate(block, [&] { return next++ * 2654435761u; });
      ASSERT_TRUE(
          send_all(to, {reinterpret_cast<const char*>(block.data()), block.size() * sizeof next}));
    }
    shutdown(to.get(), SHUT_WR);
  }
  // The checksum of what came until the end.
  static std::string read(const Fd& from, std::size_t& length) {
    GChecksum* const sum = g_checksum_new(G_CHECKSUM_SHA256);
    std::vector<char> buffer(1 << 16);
    ssize_t count = 0;
    length = 0;
    while ((count = recv(from.get(), buffer.data(), buffer.size(), 0)) > 0) {
      g_checksum_update(sum, reinterpret_cast<const guchar*>(buffer.data()), count);
      length += static_cast<std::size_t>(count);
    }
    EXPECT_EQ(count, 0);
    const std::string text = g_checksum_get_string(sum);
    g_checksum_free(sum);
    return text;
  }
  static std::string expected() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const Fd from(ends[0]);
    const Fd to(ends[1]);
    std::thread writer([&] { write(to); });
    std::size_t length = 0;
    std::string sum = read(from, length);
    writer.join();
    return sum;
  }
};

TEST_F(SshTunnel, AHundredMegabytesEachWayAtOnce) {
  const Fd service = listening_socket();
  const TunnelTarget target = localhost(local_endpoint(service.get()));
  daemon().order(order({target}));
  Pair pair = through(laid(target), service);
  std::string to_server;
  std::size_t to_server_length = 0;
  std::thread up([&] { Stream::write(pair.client); });
  std::thread down([&] { Stream::write(pair.server); });
  std::thread server([&] { to_server = Stream::read(pair.server, to_server_length); });
  std::size_t to_client_length = 0;
  const std::string to_client = Stream::read(pair.client, to_client_length);
  up.join();
  down.join();
  server.join();
  EXPECT_EQ(to_client_length, Stream::bytes);
  EXPECT_EQ(to_server_length, Stream::bytes);
  const std::string expected = Stream::expected();
  EXPECT_EQ(to_client, expected);
  EXPECT_EQ(to_server, expected);
}

TEST_F(SshTunnel, ARefusedPortIsTheForwardsTroubleAlone) {
  Fd closed = bound_socket();
  const Fd service = listening_socket();
  const TunnelTarget bad = localhost(local_endpoint(closed.get()));
  const TunnelTarget good = localhost(local_endpoint(service.get()));
  daemon().order(order({bad, good}));
  {
    const Fd client = unix_client(laid(bad));
    EXPECT_EQ(receive(client, 1), "");
  }
  EXPECT_TRUE(refused(bad, "Connection refused"));
  EXPECT_TRUE(refused(good, ""));
  EXPECT_NE(path(bad), "");
  EXPECT_TRUE(through(laid(good), service).carries());

  // Somebody listens there now; the next connection takes the complaint back.
  ASSERT_EQ(listen(closed.get(), 1), 0);
  EXPECT_TRUE(through(path(bad), closed).carries());
  EXPECT_TRUE(refused(bad, ""));
}

TEST_F(SshTunnel, ForwardsComeAndGoWhileAnotherCarries) {
  const Fd first = listening_socket();
  const Fd second = listening_socket();
  const TunnelTarget one = localhost(local_endpoint(first.get()));
  const TunnelTarget two = localhost(local_endpoint(second.get()));
  daemon().order(order({one}));
  Pair carried = through(laid(one), first);
  const auto before = masters();

  tunnels().order(order({one, two}));
  const std::string path_of_two = laid(two);
  Pair through_two = through(path_of_two, second);
  EXPECT_TRUE(through_two.carries());
  EXPECT_TRUE(carried.carries());

  tunnels().order(order({one}));
  EXPECT_TRUE(run_until([&] { return !std::filesystem::exists(path_of_two); }));
  EXPECT_FALSE(unix_client(path_of_two));
  EXPECT_EQ(reason(two), "not ordered");
  EXPECT_TRUE(carried.carries());
  EXPECT_TRUE(through_two.carries()) << "what goes through is not cut";
  EXPECT_TRUE(through(laid(one), first).carries());
  EXPECT_EQ(masters(), before);

  tunnels().order(order({one, two}));
  EXPECT_TRUE(through(laid(two), second).carries());
}

TEST_F(SshTunnel, TheSameOrderAgainChangesNothing) {
  const Fd service = listening_socket();
  const TunnelTarget target = localhost(local_endpoint(service.get()));
  daemon().order(order({target}));
  Pair pair = through(laid(target), service);
  const auto before = masters();
  const int changes = changes_;
  tunnels().order(order({target}));
  EXPECT_TRUE(pair.carries());
  EXPECT_EQ(masters(), before);
  EXPECT_EQ(changes_, changes);
}

TEST_F(SshTunnel, ReachesAUnixSocketWhateverItsName) {
  const std::string place = file("a b:c%d\\e[f");
  const auto address = UnixAddress::from(place);
  const Fd service(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_deadline(service.get());
  ASSERT_EQ(bind(service.get(), address->get(), address->length), 0);
  ASSERT_EQ(listen(service.get(), 5), 0);
  const TunnelTarget target{{}, {}, {}, place};
  daemon().order(order({target}));
  EXPECT_TRUE(through(laid(target), service).carries());
}

TEST_F(SshTunnel, APathThatWouldBeAVariableIsRefusedWithWords) {
  const TunnelTarget target{{}, {}, {}, "/run/${HOME}"};
  const Fd service = listening_socket();
  const TunnelTarget good = localhost(local_endpoint(service.get()));
  daemon().order(order({target, good}));
  EXPECT_TRUE(fails(target, "cannot be said to ssh"));
  EXPECT_TRUE(through(laid(good), service).carries());
}

TEST_F(SshTunnel, LocalhostIsAlsoIpv6AndAddressesAreTaken) {
  const Fd six(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_deadline(six.get());
  const auto any = SocketAddress::from(IpAddress::loopback6(), std::nullopt);
  ASSERT_EQ(bind(six.get(), any.get(), any.length), 0);
  ASSERT_EQ(listen(six.get(), 5), 0);
  const TunnelTarget unnamed = localhost(local_endpoint(six.get()));
  const TunnelTarget named{{}, IpAddress::loopback6(), local_endpoint(six.get()).port, {}};
  daemon().order(order({unnamed, named}));
  EXPECT_TRUE(through(laid(unnamed), six).carries());
  EXPECT_TRUE(through(laid(named), six).carries());
}

TEST_F(SshTunnel, NoUdp) {
  daemon().order(order({TunnelTarget{Protocol::udp, {}, Port::from(53), {}}}));
  EXPECT_NE(reason({Protocol::udp, {}, Port::from(53), {}}).find("TCP"), std::string::npos);
}

TEST_F(SshTunnel, SocketsAreForTheGroupAndTheRestForNobody) {
  const Fd service = listening_socket();
  const TunnelTarget target = localhost(local_endpoint(service.get()));
  daemon().order(order({target}));
  const std::string tunnel = laid(target);
  const auto mode = [](const std::string& path) {
    struct stat status {};
    EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  };
  const auto parent = std::filesystem::path(tunnel).parent_path();
  EXPECT_EQ(mode(tunnel), 0660u);
  EXPECT_EQ(mode(parent), 0750u);
  EXPECT_EQ(mode(parent.parent_path()), 0750u);
  EXPECT_EQ(mode(parent / "c"), 0600u);
  EXPECT_EQ(mode(known_hosts()), 0600u);
  EXPECT_EQ(mode(file("state")), 0700u);
  EXPECT_EQ(mode(file("ssh.sock")), 0600u);
}

TEST_F(SshTunnel, NothingIsLeftOfAGuestThatIsForgotten) {
  const Fd service = listening_socket();
  const TunnelTarget target = localhost(local_endpoint(service.get()));
  daemon().order(order({target}));
  Pair pair = through(laid(target), service);
  const auto ssh = masters();
  ASSERT_EQ(ssh.size(), 1u);
  tunnels().forget(uuid);
  EXPECT_TRUE(tunnels().ends(uuid).empty());
  EXPECT_TRUE(run_until([&] { return !is_running(ssh[0]); }));
  EXPECT_TRUE(run_until([&] { return std::filesystem::is_empty(file("sockets")); }));
  EXPECT_NE(ending(pair.client), -1);
  EXPECT_TRUE(std::filesystem::exists(known_hosts())) << "its key stays pinned";
}

}  // namespace
}  // namespace vf::test
