// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Machines beside the host that want to get at what it serves to itself.

#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

#include "place.h"
#include "private_network.h"

namespace vf::test {

inline void write_sysctl(const std::string& name, int value) {
  std::ofstream("/proc/sys/net/" + name) << value;
}

// Somebody's machine that sends packets for 127.0.0.1 to the host: a guest, or a neighbour in the
// LAN.
class Attacker {
 public:
  Attacker(const Namespace& machine, std::string link, std::string own, std::string host)
      : machine_(machine), own_(std::move(own)), host_(std::move(host)) {
    machine_.run([&] {
      write_sysctl("ipv4/conf/" + link + "/route_localnet", 1);
      write_sysctl("ipv4/conf/" + link + "/rp_filter", 0);
      write_sysctl("ipv4/conf/all/rp_filter", 0);
      EXPECT_TRUE(ip("address flush dev lo"));
      EXPECT_TRUE(ip("route add 127.0.0.1 via " + host_ + " dev " + link));
    });
  }

  // Whether a connection to `address` of the host gets there. When it does not, the packet was
  // dropped: one that was sent after it has arrived.
  bool reaches(const std::string& address, unsigned port) const {
    bool there = false;
    const Fd behind = listening(host_);
    machine_.run([&] {
      // On one processor packets do not overtake each other.
      cpu_set_t here;
      CPU_ZERO(&here);
      CPU_SET(static_cast<std::size_t>(sched_getcpu()), &here);
      EXPECT_EQ(sched_setaffinity(0, sizeof here, &here), 0);
      const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const SocketAddress own = SocketAddress::from(*IpAddress::parse(own_), {});
      EXPECT_EQ(bind(socket.get(), own.get(), own.length), 0);
      EXPECT_EQ(connect_socket(socket, endpoint(address, port)), EINPROGRESS);
      EXPECT_EQ(connect_to(endpoint(host_, port_of(behind))).error, 0);
      pollfd answer{socket.get(), POLLOUT, 0};
      there = poll(&answer, 1, 0) > 0 && (answer.revents & (POLLERR | POLLHUP)) == 0;
    });
    return there;
  }

 private:
  const Namespace& machine_;
  const std::string own_;
  const std::string host_;
};

// Another machine, at a link of the host's own.
class Lan {
 public:
  Lan() {
    machine.run([] {
      EXPECT_TRUE(ip("link add eth0 type veth peer name vlan0 netns " + std::to_string(getpid())));
      EXPECT_TRUE(ip("address add 192.0.2.2/24 dev eth0"));
      EXPECT_TRUE(ip("link set eth0 up"));
    });
    EXPECT_TRUE(ip("address add 192.0.2.1/24 dev vlan0"));
    EXPECT_TRUE(ip("link set vlan0 up"));
  }
  ~Lan() { ip("link del vlan0"); }
  Lan(const Lan&) = delete;
  Lan& operator=(const Lan&) = delete;

  Namespace machine;
};

}  // namespace vf::test
