// SPDX-License-Identifier: LGPL-2.1-or-later
//
// vsock listen PORT PROGRAM [ARGUMENT...]
// vsock connect CID PORT
//
// For a guest, whose busybox knows no vsock. `listen`: every connection to PORT gets PROGRAM on its
// stdin and stdout; goes to the background once the port is bound. `connect`: stdin goes to the
// peer until it ends, what the peer says goes to stdout until that ends; exit 1 if there was no
// connection or it broke. Static, as the guest has no libraries.

#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

sockaddr_vm address(unsigned cid, const char* port) {
  sockaddr_vm result{};
  result.svm_family = AF_VSOCK;
  result.svm_cid = cid;
  result.svm_port = static_cast<unsigned>(std::strtoul(port, nullptr, 10));
  return result;
}

int fail(const char* what) {
  std::perror(what);
  return 1;
}

int listen_on(char** argv) {
  const int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_vm local = address(VMADDR_CID_ANY, argv[0]);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&local), sizeof local) < 0)
    return fail("bind");
  if (listen(listener, 1024) < 0) return fail("listen");
  if (daemon(0, 0) < 0) return fail("daemon");
  signal(SIGCHLD, SIG_IGN);
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    if (fork() == 0) {
      dup2(fd, STDIN_FILENO);
      dup2(fd, STDOUT_FILENO);
      execvp(argv[1], argv + 1);
      _exit(127);
    }
    close(fd);
  }
}

// One read from `from`, all of it written to `to`. 1: some, 0: the end, -1: an error
int copy(int from, int to) {
  static std::array<char, 65536> buffer;
  const ssize_t size = read(from, buffer.data(), buffer.size());
  for (ssize_t done = 0; done < size;) {
    const ssize_t written = write(to, buffer.data() + done, static_cast<std::size_t>(size - done));
    if (written < 0) return -1;
    done += written;
  }
  return size > 0 ? 1 : static_cast<int>(size);
}

int connect_to(char** argv) {
  const int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_vm peer =
      address(static_cast<unsigned>(std::strtoul(argv[0], nullptr, 10)), argv[1]);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) < 0)
    return fail("connect");
  std::array<pollfd, 2> polls{{{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}}};
  while (true) {
    poll(polls.data(), polls.size(), -1);
    if (polls[0].revents != 0) {
      const int got = copy(STDIN_FILENO, fd);
      if (got < 0) return fail("send");
      if (got == 0) {
        shutdown(fd, SHUT_WR);
        polls[0].fd = -1;
      }
    }
    if (polls[1].revents != 0) {
      const int got = copy(fd, STDOUT_FILENO);
      if (got < 0) return fail("receive");
      if (got == 0) return 0;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "listen" && argc > 3) return listen_on(argv + 2);
  if (verb == "connect" && argc == 4) return connect_to(argv + 2);
  std::fputs("usage: vsock listen PORT PROGRAM... | vsock connect CID PORT\n", stderr);
  return 2;
}
