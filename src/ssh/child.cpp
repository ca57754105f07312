// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/child.h"

#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "glib/ref.h"

namespace vf {
namespace {

// What is written at the end is read in so many turns at most: others may hold the pipe too.
constexpr int last_reads = 64;

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts)
    result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// In the child, which may not go on without its parent.
void die_with_parent(gpointer parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (getppid() != GPOINTER_TO_INT(parent)) _exit(127);
}

}  // namespace

Result<std::unique_ptr<Child>> Child::start(const std::vector<std::string>& arguments,
                                            const std::vector<std::string>& environment,
                                            OnOutput on_output, OnExit on_exit) {
  GPid pid = 0;
  gint output = -1;
  GErrorOut error;
  const auto flags =
      static_cast<GSpawnFlags>(G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL);
  if (!g_spawn_async_with_pipes("/", pointers(arguments).data(), pointers(environment).data(),
                                flags, die_with_parent, GINT_TO_POINTER(getpid()), &pid, nullptr,
                                nullptr, &output, error.out()))
    return Unexpected(ErrorCode::failed, error.message());
  Fd errors(output);
  fcntl(errors.get(), F_SETFD, FD_CLOEXEC);
  fcntl(errors.get(), F_SETFL, O_NONBLOCK);
  Fd handle(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!handle) {
    const int error_number = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return Unexpected(system_error(error_number, "pidfd_open"));
  }
  return std::unique_ptr<Child>(new Child(pid, std::move(handle), std::move(errors),
                                          std::move(on_output), std::move(on_exit)));
}

Child::Child(pid_t pid, Fd handle, Fd output, OnOutput on_output, OnExit on_exit)
    : pid_(pid),
      handle_(std::move(handle)),
      output_(std::move(output)),
      on_output_(std::move(on_output)),
      on_exit_(std::move(on_exit)) {
  readable_ = watch_fd(output_.get(), G_IO_IN, [this](GIOCondition) {
    const std::weak_ptr<int> alive = alive_;
    if (read_some() == Read::end && !alive.expired()) readable_.reset();
  });
  exited_ = watch_fd(handle_.get(), G_IO_IN, [this](GIOCondition) { ended(); });
}

Child::~Child() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// This may be gone when it returns `some`.
Child::Read Child::read_some() {
  std::array<char, 16 * 1024> buffer;
  const ssize_t length = read(output_.get(), buffer.data(), buffer.size());
  if (length < 0 && (errno == EINTR || errno == EAGAIN)) return Read::nothing;
  if (length <= 0) return Read::end;
  const OnOutput on_output = on_output_;
  on_output({buffer.data(), static_cast<std::size_t>(length)});
  return Read::some;
}

void Child::ended() {
  const std::weak_ptr<int> alive = alive_;
  int status = 0;
  const pid_t waited = waitpid(pid_, &status, WNOHANG);
  if (waited == 0) return;
  pid_ = 0;
  exited_.reset();
  readable_.reset();
  for (int i = 0; i < last_reads && read_some() == Read::some; ++i)
    if (alive.expired()) return;
  const OnExit on_exit = std::move(on_exit_);
  on_exit(status);
}

std::string exit_text(int status) {
  if (WIFSIGNALED(status))
    return "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" +
           strsignal(WTERMSIG(status)) + ')';
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace vf
