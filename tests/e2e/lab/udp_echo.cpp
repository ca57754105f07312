// SPDX-License-Identifier: LGPL-2.1-or-later
//
// udp-echo PORT
//
// For a guest, whose busybox has no UDP server: sends every datagram that comes to PORT (IPv4) back
// to where it came from. Goes to the background once the port is bound. Static, as the guest has no
// libraries.

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) < 0) {
    std::perror("bind");
    return 1;
  }
  if (daemon(0, 0) < 0) return 1;
  static char datagram[65536];
  while (true) {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    auto* const address = reinterpret_cast<sockaddr*>(&from);
    const ssize_t size = recvfrom(fd, datagram, sizeof datagram, 0, address, &length);
    if (size >= 0) sendto(fd, datagram, static_cast<std::size_t>(size), 0, address, length);
  }
}
