// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The program itself, run as libvirt runs it. As root the tests run it as another user, so that it
// looks for its socket below XDG_RUNTIME_DIR and never finds the one of this host.

#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>

#include "fixture.h"
#include "wire/hook.h"

namespace vf {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

const std::string uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const std::vector<std::string> operations{"prepare", "start",   "started", "stopped",   "release",
                                          "restore", "migrate", "attach",  "reconnect", "novelty"};

std::string domain(const std::string& forward) {
  return "<domain type='kvm'><name>web</name><uuid>" + uuid +
         "</uuid><metadata><v:forwards xmlns:v='urn:virt-forward:1'>" + forward +
         "</v:forwards></metadata></domain>";
}
const std::string plain = domain("<v:forward guest-port='80'/>");
const std::string required = domain("<v:forward guest-port='80' required='yes'/>");
const std::string foreign = "<domain><name>web</name><uuid>" + uuid + "</uuid></domain>";

void set_limit(int resource, rlim_t value) {
  const rlimit limit{value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

class HookProcess {
 public:
  HookProcess(const std::vector<std::string>& arguments, const std::string& runtime,
              const std::function<void()>& in_child)
      : begun_(Clock::now()) {
    std::vector<std::string> words{"50-virt-forward"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/bin";
    std::string runtime_variable = "XDG_RUNTIME_DIR=" + runtime;
    char* const environment[] = {path.data(), runtime_variable.data(), nullptr};
    // Opened here: another user may not get into this directory.
    const Fd program(open(VF_HOOK, O_PATH | O_CLOEXEC));
    pid_ = fork();
    if (pid_ == 0) {
      dup2(input_.out.get(), 0);
      dup2(output_.in.get(), 1);
      dup2(error_.in.get(), 2);
      if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 ||
                             setresuid(65534, 65534, 65534) != 0))
        _exit(101);
      if (in_child) in_child();
      execveat(program.get(), "", argv.data(), environment, AT_EMPTY_PATH);
      _exit(102);
    }
    input_.out.reset();
    output_.in.reset();
    error_.in.reset();
    signal(SIGPIPE, SIG_IGN);
    fcntl(input_.in.get(), F_SETFL, O_NONBLOCK);
  }
  ~HookProcess() {
    if (pid_ > 0 && !ended_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  pid_t pid() const { return pid_; }
  // Must fit the pipe.
  void feed(const std::string& text) {
    [[maybe_unused]] const ssize_t done = write(input_.in.get(), text.data(), text.size());
  }
  void end_input() { input_.in.reset(); }

  // Until it handles signals.
  void wait_until_guarded() const {
    const auto limit = Clock::now() + 10s;
    while (Clock::now() < limit) {
      std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
      const std::string text(std::istreambuf_iterator<char>(file), {});
      const std::size_t at = text.find("SigCgt:");
      if (at == std::string::npos) return;
      const auto caught = std::stoull(text.substr(at + 7), nullptr, 16);
      // The last one that it takes.
      if (caught >> (static_cast<unsigned>(SIGRTMAX) - 1) & 1) return;
    }
    ADD_FAILURE() << "no guard";
  }

  // The exit status; a signal that ended it is 128 more than its number.
  int finish() {
    int status = 0;
    output = read_all(output_.out.get());
    error = read_all(error_.out.get());
    waitpid(pid_, &status, 0);
    ended_ = true;
    elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string output;
  std::string error;
  std::chrono::milliseconds elapsed{};

 private:
  static std::string read_all(int fd) {
    std::string text;
    char buffer[4096];
    ssize_t got = 0;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
      text.append(buffer, static_cast<std::size_t>(got));
    return text;
  }

  Clock::time_point begun_;
  Pipe input_;
  Pipe output_;
  Pipe error_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

class HookProgram : public testing::Test {
 protected:
  HookProgram() {
    mkdir((directory_ / "virt-forward").c_str(), 0777);
    chmod((directory_ / ".").c_str(), 0755);
    chmod((directory_ / "virt-forward").c_str(), 0777);
  }

  void listen(int backlog = 4) {
    listener_ = listen_at(path_, SOCK_STREAM, backlog);
    chmod(path_.c_str(), 0777);
  }
  void listen_full() {
    listen(0);
    while (Fd client = connect_at(path_, SOCK_NONBLOCK))
      queued_.push_back(std::move(client));
  }

  struct Run {
    int status;
    std::string output;
    std::string error;
    std::chrono::milliseconds elapsed;
  };
  Run run(const std::string& operation, const std::string& xml,
          const std::function<void()>& in_child = {}) {
    HookProcess process({"web", operation, "begin", "-"}, directory_ / ".", in_child);
    process.feed(xml);
    process.end_input();
    const int status = process.finish();
    return {status, process.output, process.error, process.elapsed};
  }

  // Whether one run of many keeps to the time that a start may lose; the others may have had to
  // wait for a busy machine.
  bool in_time(const std::function<std::chrono::milliseconds()>& measure) {
    for (int i = 0; i < 40; ++i)
      if (measure() <= 265ms) return true;
    return false;
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "virt-forward/hook.sock";
  Fd listener_;
  std::vector<Fd> queued_;
};

TEST_F(HookProgram, HandsOverWhatLibvirtGaveIt) {
  listen();
  EXPECT_EQ(run("started", plain).status, 0);
  const Fd client(accept(listener_.get(), nullptr, nullptr));
  const auto message = decode_hook_message(receive_message(client.get()));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->operation, HookOperation::started);
  EXPECT_EQ(message->uuid, uuid);
}

TEST_F(HookProgram, IsSilentAndSucceedsWithoutADaemon) {
  for (const std::string& operation : operations)
    for (const std::string& xml : {plain, foreign, std::string("nonsense"), std::string()}) {
      const Run result = run(operation, xml);
      EXPECT_EQ(result.status, 0) << operation;
      EXPECT_EQ(result.output, "");
      EXPECT_EQ(result.error, "");
    }
}

TEST_F(HookProgram, OnlyPrepareRefuses) {
  for (const std::string& operation : operations) {
    const Run result = run(operation, required);
    EXPECT_EQ(result.output, "");
    if (operation != "prepare") {
      EXPECT_EQ(result.status, 0) << operation;
      EXPECT_EQ(result.error, "");
      continue;
    }
    EXPECT_EQ(result.status, 1);
    EXPECT_THAT(result.error, HasSubstr("virt-forwardd"));
    EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1);
  }
}

TEST_F(HookProgram, ShowsTheDaemonsReason) {
  listen();
  HookProcess process({"web", "prepare", "begin", "-"}, directory_ / ".", {});
  process.feed(required);
  process.end_input();
  const Fd client(accept(listener_.get(), nullptr, nullptr));
  receive_message(client.get());
  send_bytes(client.get(), encode(HookReply{false, "port 8080 is held by another program"}));
  EXPECT_EQ(process.finish(), 1);
  EXPECT_THAT(process.error, HasSubstr("port 8080 is held by another program"));
}

TEST_F(HookProgram, SilentDaemonDoesNotHoldUpAStart) {
  listen(100);
  EXPECT_TRUE(in_time([&] {
    const Run result = run("prepare", required);
    EXPECT_EQ(result.status, 1);
    EXPECT_THAT(result.error, HasSubstr("virt-forwardd"));
    return result.elapsed;
  }));
  for (const std::string& operation : operations)
    EXPECT_EQ(run(operation, plain).status, 0);
}

TEST_F(HookProgram, FullSocketDoesNotHoldUpAStart) {
  listen_full();
  EXPECT_TRUE(in_time([&] {
    std::chrono::milliseconds sum{};
    for (const char* operation : {"prepare", "start", "started"}) {
      const Run result = run(operation, plain);
      EXPECT_EQ(result.status, 0);
      sum += result.elapsed;
    }
    return sum;
  }));
  EXPECT_EQ(run("reconnect", required).status, 0);
  EXPECT_EQ(run("prepare", required).status, 1);
}

TEST_F(HookProgram, InputThatNeverEndsDoesNotHoldUpAStart) {
  EXPECT_TRUE(in_time([&] {
    HookProcess process({"web", "start", "begin", "-"}, directory_ / ".", {});
    process.feed("<domain>");
    EXPECT_EQ(process.finish(), 0);
    return process.elapsed;
  }));
}

TEST_F(HookProgram, NobodyReadingItsErrorsDoesNotHoldItUp) {
  Pipe full;
  fcntl(full.in.get(), F_SETFL, O_NONBLOCK);
  while (write(full.in.get(), "x", 1) == 1) {
  }
  fcntl(full.in.get(), F_SETFL, 0);
  EXPECT_TRUE(in_time([&] {
    const Run result = run("prepare", required, [&] { dup2(full.in.get(), 2); });
    EXPECT_EQ(result.status, 1);
    return result.elapsed;
  }));
}

TEST_F(HookProgram, EverySignalEndsInSuccess) {
  for (int number = 1; number <= SIGRTMAX; ++number) {
    if (number == SIGKILL || number == SIGSTOP) continue;
    if (number > SIGSYS && number < SIGRTMIN) continue;  // the C library's own
    HookProcess process({"web", "reconnect", "begin", "-"}, directory_ / ".", {});
    process.feed(required.substr(0, 100));
    process.wait_until_guarded();
    kill(process.pid(), number);
    process.end_input();
    EXPECT_EQ(process.finish(), 0) << strsignal(number);
    EXPECT_EQ(process.output, "");
  }
}

TEST_F(HookProgram, EverySignalRefusesWhereAnAnswerWasNeeded) {
  listen();
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGSEGV, SIGABRT, SIGBUS, SIGALRM, SIGXCPU,
                           SIGUSR1, SIGRTMIN, SIGSYS}) {
    HookProcess process({"web", "prepare", "begin", "-"}, directory_ / ".", {});
    process.feed(required);
    process.end_input();
    const Fd client(accept(listener_.get(), nullptr, nullptr));
    kill(process.pid(), number);
    EXPECT_EQ(process.finish(), 1) << strsignal(number);
    EXPECT_THAT(process.error, HasSubstr("virt-forwardd"));
  }
}

TEST_F(HookProgram, SignalsBlockedOrIgnoredByLibvirtChangeNothing) {
  listen();
  HookProcess process({"web", "prepare", "begin", "-"}, directory_ / ".", [] {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    for (int number = 1; number <= SIGRTMAX; ++number)
      signal(number, SIG_IGN);
  });
  process.feed(required);
  process.end_input();
  const Fd client(accept(listener_.get(), nullptr, nullptr));
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.finish(), 1);
  EXPECT_THAT(process.error, HasSubstr("could not be confirmed"));  // the handler's words
}

TEST_F(HookProgram, MissingDescriptorsChangeNothing) {
  for (unsigned missing = 1; missing < 8; ++missing) {
    const auto close_some = [missing] {
      for (int fd = 0; fd < 3; ++fd)
        if (missing >> fd & 1) close(fd);
    };
    for (const std::string& operation : operations)
      EXPECT_EQ(run(operation, plain, close_some).status, 0) << operation << ' ' << missing;
    const bool readable = !(missing & 1);
    EXPECT_EQ(run("prepare", required, close_some).status, readable ? 1 : 0) << missing;
  }
}

TEST_F(HookProgram, NothingReachesTheSocketInPlaceOfStandardError) {
  listen();
  HookProcess process({"web", "prepare", "begin", "-"}, directory_ / ".", [] { close(2); });
  process.feed(required);
  process.end_input();
  const Fd client(accept(listener_.get(), nullptr, nullptr));
  receive_message(client.get());
  send_bytes(client.get(), encode(HookReply{false, "no"}));
  EXPECT_EQ(process.finish(), 1);
  char extra = 0;
  EXPECT_EQ(recv(client.get(), &extra, 1, 0), 0);
}

TEST_F(HookProgram, FullDiskChangesNothing) {
  const auto full = [] {
    const int fd = open("/dev/full", O_WRONLY);
    dup2(fd, 1);
    dup2(fd, 2);
  };
  for (const std::string& operation : operations)
    EXPECT_EQ(run(operation, plain, full).status, 0) << operation;
  EXPECT_EQ(run("prepare", required, full).status, 1);
}

TEST_F(HookProgram, StandardInputOfAnyKindIsSurvived) {
  for (const char* kind : {"/dev/null", "/dev/full", "/dev/zero", "/", "/proc/self/mem"})
    for (const std::string& operation : operations)
      EXPECT_EQ(run(operation, "", [kind] { dup2(open(kind, O_RDONLY), 0); }).status, 0)
          << operation << ' ' << kind;
}

TEST_F(HookProgram, AnyArgumentsAreSurvived) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{},
        {"web"},
        {"web", "reconnect"},
        {"", "", "", ""},
        {"--help"},
        {"-", "--version", "-", "-"},
        {std::string(100000, 'x'), std::string(100000, 'y')},
        {"web", "prepare", "begin", "-", "more", "than", "there", "are"}}) {
    HookProcess process(arguments, directory_ / ".", {});
    process.feed(plain);
    process.end_input();
    EXPECT_EQ(process.finish(), 0);
    EXPECT_EQ(process.output, "");
  }
}

TEST_F(HookProgram, RuntimeDirectoryOfAnyKindIsSurvived) {
  for (const std::string& runtime :
       {std::string(), std::string("relative"), std::string(5000, '/'), std::string("/dev/null")}) {
    HookProcess process({"web", "start", "begin", "-"}, runtime, {});
    process.feed(plain);
    process.end_input();
    EXPECT_EQ(process.finish(), 0);
  }
}

TEST_F(HookProgram, NeedsNoLibrary) {
  std::ifstream file(VF_HOOK, std::ios::binary);
  const std::string image(std::istreambuf_iterator<char>(file), {});
  Elf64_Ehdr header;
  ASSERT_GE(image.size(), sizeof header);
  std::memcpy(&header, image.data(), sizeof header);
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, image.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    EXPECT_NE(segment.p_type, static_cast<Elf64_Word>(PT_INTERP));
    if (segment.p_type != PT_DYNAMIC) continue;
    for (std::size_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn entry;
      std::memcpy(&entry, image.data() + segment.p_offset + at, sizeof entry);
      EXPECT_NE(entry.d_tag, DT_NEEDED);
    }
  }
}

TEST_F(HookProgram, LimitsOfAnyKindChangeNothing) {
  const std::string large =
      plain.substr(0, plain.size() - 9) + std::string(60000 - plain.size(), ' ') + "</domain>";
  const std::pair<int, rlim_t> limits[] = {
      {RLIMIT_NOFILE, 0},   {RLIMIT_NOFILE, 3},       {RLIMIT_NOFILE, 4},       {RLIMIT_FSIZE, 0},
      {RLIMIT_CORE, 0},     {RLIMIT_NPROC, 0},        {RLIMIT_DATA, 512 << 10}, {RLIMIT_MEMLOCK, 0},
      {RLIMIT_AS, 4 << 20}, {RLIMIT_STACK, 128 << 10}};
  for (const auto& limit : limits)
    for (const std::string& operation : operations)
      EXPECT_EQ(run(operation, large, [&] { set_limit(limit.first, limit.second); }).status, 0)
          << operation << ' ' << limit.first << ' ' << limit.second;
}

TEST_F(HookProgram, ShortOfMemoryIsNoFailure) {
  // From too little to read the document to enough to send it.
  for (rlim_t kilobytes = 1500; kilobytes < 3000; kilobytes += 50)
    EXPECT_EQ(run("reconnect", required + std::string(60000, ' '),
                  [&] { set_limit(RLIMIT_AS, kilobytes << 10); })
                  .status,
              0)
        << kilobytes;
}

}  // namespace
}  // namespace vf
