// SPDX-License-Identifier: LGPL-2.1-or-later
//
// clock VSOCK-PORT TCP-PORT
//
// In a guest, for the host's stop-watch: serves one vsock connection after the other, a byte each
// way. `p` does nothing; `l` listens on 127.0.0.1:TCP-PORT, `c` ends that. The answer is the moment
// (CLOCK_MONOTONIC, ns, 8 bytes of this machine's order) right before that.
// `h` opens 10,000 listening sockets on 127.0.0.2, ports 20000 and up, `H` closes them.

#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

int listening_on(const char* address, int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address, &local.sin_addr);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) < 0) std::exit(3);
  return fd;
}

std::int64_t now() {
  timespec moment{};
  clock_gettime(CLOCK_MONOTONIC, &moment);
  return std::int64_t{moment.tv_sec} * 1'000'000'000 + moment.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  rlimit limit{20000, 20000};
  setrlimit(RLIMIT_NOFILE, &limit);
  const int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_vm local{};
  local.svm_family = AF_VSOCK;
  local.svm_cid = VMADDR_CID_ANY;
  local.svm_port = static_cast<unsigned>(std::atoi(argv[1]));
  if (bind(listener, reinterpret_cast<const sockaddr*>(&local), sizeof local) < 0 ||
      listen(listener, 1) < 0 || daemon(0, 0) < 0)
    return 1;
  int service = -1;
  std::vector<int> many;
  while (true) {
    const int host = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    char order = 0;
    while (read(host, &order, 1) == 1) {
      if (order == 'l') service = listening_on("127.0.0.1", std::atoi(argv[2]));
      const std::int64_t moment = now();
      if (order == 'l') listen(service, 64);
      if (order == 'c') close(service);
      for (int port = 20000; order == 'h' && port < 30000; ++port) {
        many.push_back(listening_on("127.0.0.2", port));
        listen(many.back(), 1);
      }
      if (order == 'H') {
        for (const int fd : many)
          close(fd);
        many.clear();
      }
      if (write(host, &moment, sizeof moment) != sizeof moment) break;
    }
    close(host);
  }
}
