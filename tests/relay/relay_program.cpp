// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay_program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "loopback.h"

namespace vf::test {
namespace {

std::string proc(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + '/' + file;
}

// As it prints it: "tcp:127.0.0.1:34567 -> …".
Endpoint where(const std::string& line) {
  const auto end = line.find(" -> ");
  const auto colon = line.rfind(':', end);
  return {*IpAddress::parse(line.substr(4, colon - 4)),
          *Port::parse(line.substr(colon + 1, end - colon - 1))};
}

void exec(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

}  // namespace

RelayProgram::RelayProgram(const std::vector<Endpoint>& targets,
                           const std::function<void()>& prepare, int threads) {
  if (const char* const other = std::getenv("VF_TEST_RELAY")) {
    for (const Endpoint& target : targets)
      start_other(other, target);
    return;
  }
  int out[2];
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], STDOUT_FILENO);
    std::vector<std::string> arguments{VF_RELAY_PROGRAM_PATH,
                                       "--threads=" + std::to_string(threads)};
    for (const Endpoint& target : targets) {
      arguments.emplace_back("tcp:127.0.0.1:0");
      arguments.push_back("tcp:" + target.text());
    }
    prepare();
    exec(arguments);
  }
  close(out[1]);
  pids_.push_back(pid);
  const Fd lines(out[0]);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    std::string line;
    char byte;
    while (read(lines.get(), &byte, 1) == 1 && byte != '\n')
      line += byte;
    if (line.empty()) {
      ADD_FAILURE() << "the relay did not start";
      std::abort();
    }
    hosts_.push_back(where(line));
  }
}

void RelayProgram::start_other(const char* command, const Endpoint& target) {
  const Endpoint host = local_endpoint(bound_socket().get());
  std::istringstream words(command);
  std::vector<std::string> arguments;
  for (std::string word; words >> word;) {
    for (const auto& [mark, port] : {std::pair("{listen}", host.port), {"{target}", target.port}})
      if (const auto at = word.find(mark); at != word.npos)
        word.replace(at, std::string_view(mark).size(), std::to_string(port.number()));
    arguments.push_back(word);
  }
  const pid_t pid = fork();
  if (pid == 0) exec(arguments);
  pids_.push_back(pid);
  hosts_.push_back(host);
  while (waitpid(pid, nullptr, WNOHANG) == 0) {  // until it listens; no test connection
    std::ifstream table("/proc/net/tcp");
    char listening[32];
    std::snprintf(listening, sizeof listening, ":%04X 00000000:0000 0A", host.port.number());
    if (std::string((std::istreambuf_iterator<char>(table)), {}).find(listening) !=
        std::string::npos)
      return;
    std::this_thread::yield();
  }
}

RelayProgram::~RelayProgram() {
  for (const pid_t pid : pids_) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
}

void RelayProgram::stop() {
  for (const pid_t pid : std::exchange(pids_, {})) {
    int status = 0;
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
}

long RelayProgram::memory() const {
  std::ifstream status(proc(pid(), "status"));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  return 0;
}

std::size_t RelayProgram::descriptors() const {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& one : std::filesystem::directory_iterator(proc(pid(), "fd")))
    ++count;
  return count;
}

long RelayProgram::ticks() const {
  std::ifstream stat(proc(pid(), "stat"));
  std::string text;
  std::getline(stat, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i)
    fields >> skipped;
  long user = 0;
  long system = 0;
  fields >> user >> system;
  return user + system;
}

}  // namespace vf::test
