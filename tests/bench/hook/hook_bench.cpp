// SPDX-License-Identifier: LGPL-2.1-or-later
//
// hook_bench HOOK DOMAIN-XML [RUNS]: how long one run of the hook takes, from its spawn to its end,
// with the daemon's hook server at the other end of the socket. Exit status 1 when a median is past
// its bound.

#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "daemon/hook_server.h"

namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

struct Bench {
  std::string program;
  std::string environment;
  int runs;

  // What libvirt does: a pipe that the XML is written into while the hook runs.
  double once(const char* operation, const std::string& xml) const {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    std::string words[] = {"50-virt-forward", "web", operation, "begin", "-"};
    char* argv[] = {words[0].data(), words[1].data(), words[2].data(),
                    words[3].data(), words[4].data(), nullptr};
    char* variables[] = {const_cast<char*>(environment.data()), nullptr};
    const auto begun = std::chrono::steady_clock::now();
    pid_t child = -1;
    if (posix_spawn(&child, program.c_str(), &actions, nullptr, argv, variables) != 0) std::abort();
    close(ends[0]);
    if (write(ends[1], xml.data(), xml.size()) != static_cast<ssize_t>(xml.size())) std::abort();
    close(ends[1]);
    int status = 0;
    waitpid(child, &status, 0);
    const double taken = Milliseconds(std::chrono::steady_clock::now() - begun).count();
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0) {
      std::fprintf(stderr, "hook_bench: the hook ended with status %d\n", status);
      std::exit(2);
    }
    return taken;
  }

  bool measure(const char* what, const char* operation, const std::string& xml,
               double bound) const {
    std::vector<double> times;
    for (int i = 0; i < runs; ++i)
      times.push_back(once(operation, xml));
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    std::printf("%-44s median %.2f ms, 99 %% %.2f ms (bound %.0f ms)\n", what, median,
                times[times.size() * 99 / 100], bound);
    return median <= bound;
  }
};

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: hook_bench HOOK DOMAIN-XML [RUNS]\n");
    return 2;
  }
  std::ifstream file(argv[2]);
  const std::string xml(std::istreambuf_iterator<char>(file), {});
  // As another user than root, the hook looks for the socket where this program can put it.
  const int program = open(argv[1], O_PATH);
  const std::string program_path = "/proc/self/fd/" + std::to_string(program);
  const int runs = argc > 3 ? std::atoi(argv[3]) : 500;
  const std::string foreign = replaced(xml, "urn:virt-forward:1", "urn:another:1");
  if (program < 0 || xml.empty()) {
    std::perror("hook_bench");
    return 2;
  }
  bool good = true;
  if (geteuid() == 0)
    good = Bench{program_path, "PATH=", runs}.measure("domain without forwards", "started", foreign,
                                                      3);
  if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 ||
                         setresuid(65534, 65534, 65534) != 0))
    return 2;
  std::string directory = std::filesystem::temp_directory_path() / "hook-bench-XXXXXX";
  if (!mkdtemp(directory.data())) return 2;
  std::filesystem::create_directory(directory + "/virt-forward");

  std::atomic<std::size_t> received{0};
  GMainLoop* loop = g_main_loop_new(nullptr, FALSE);
  auto socket = vf::RuntimeSocket::listen(directory + "/virt-forward/hook.sock");
  if (!socket) {
    std::fprintf(stderr, "hook_bench: %s\n", socket.error().message.c_str());
    return 2;
  }
  vf::HookServer server(*std::move(socket),
                        [&](const vf::HookMessage&, vf::HookServer::Answer answer) {
                          ++received;
                          if (answer) answer({});
                        });
  std::thread daemon([loop] { g_main_loop_run(loop); });

  const Bench bench{program_path, "XDG_RUNTIME_DIR=" + directory, runs};
  const std::string required =
      replaced(xml, "guest-port=\"80\"", "guest-port=\"80\" required=\"yes\"");
  good &= bench.measure("domain with forwards, handed over", "started", xml, 5);
  good &= bench.measure("domain with a required forward, answered", "prepare", required, 5);
  good &= bench.measure("domain without forwards, of a user, handed over", "started", foreign, 5);

  g_main_loop_quit(loop);
  daemon.join();
  g_main_loop_unref(loop);
  std::filesystem::remove_all(directory);
  if (received != 3 * static_cast<std::size_t>(bench.runs)) {
    std::fprintf(stderr, "hook_bench: %zu messages arrived\n", received.load());
    return 2;
  }
  return good ? 0 : 1;
}
