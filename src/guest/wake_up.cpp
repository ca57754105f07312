// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Theory of operation
//
// A perf event on the tracepoint, one for each processor, with a filter, so that the connections
// of a busy server wake nobody. A sample tells the caller's process and, in the tracepoint's own
// record, the port and the new state. A socket is set to LISTEN before it can be found in the
// kernel's tables, so who gets the hint has to look again where it finds nothing.

#include "guest/wake_up.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace vf::guest {
namespace {

constexpr char tracepoint[] = "events/sock/inet_sock_set_state/";
constexpr char only_listening[] = "newstate==10||oldstate==10";
constexpr int state_listen = 10;
constexpr std::size_t data_bytes = 4096;

std::string read_at(int directory, const std::string& path) {
  const Fd fd(openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::string text(8192, '\0');
  const ssize_t got = read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// The kernel's tracefs, where nobody has mounted it: a mount of our own that has no place.
Fd detached_tracefs() {
  const Fd context(static_cast<int>(syscall(SYS_fsopen, "tracefs", 1 /* FSOPEN_CLOEXEC */)));
  if (!context) return Fd();
  if (syscall(SYS_fsconfig, context.get(), 6 /* FSCONFIG_CMD_CREATE */, nullptr, nullptr, 0) < 0)
    return Fd();
  return Fd(static_cast<int>(syscall(SYS_fsmount, context.get(), 1 /* FSMOUNT_CLOEXEC */, 0)));
}

// "field:int newstate;	offset:20;	size:4; ..."
std::size_t offset_of(const std::string& format, const std::string& field) {
  const auto at = format.find(' ' + field + ';');
  if (at == std::string::npos) return 0;
  const auto offset = format.find("offset:", at);
  if (offset == std::string::npos) return 0;
  return static_cast<std::size_t>(std::atoi(format.c_str() + offset + 7));
}

std::string online_cpus() {
  return read_at(AT_FDCWD, "/sys/devices/system/cpu/online");
}

// "0-3,8" -> 0 1 2 3 8
std::vector<int> numbers_in(const std::string& list) {
  std::vector<int> numbers;
  for (const char* at = list.c_str(); *at >= '0' && *at <= '9';) {
    char* end = nullptr;
    const long low = std::strtol(at, &end, 10);
    const long high = *end == '-' ? std::strtol(end + 1, &end, 10) : low;
    for (long one = low; one <= high && numbers.size() < 4096; ++one)
      numbers.push_back(static_cast<int>(one));
    at = *end == ',' ? end + 1 : end;
    if (*end != ',') break;
  }
  return numbers;
}

}  // namespace

struct TcpWakeUp::Cpu final : Handler {
  explicit Cpu(TcpWakeUp& its_owner) : owner(its_owner) {}
  ~Cpu() override {
    if (ring) munmap(ring, page + data_bytes);
  }

  void ready(std::uint32_t events) override {
    if (!fd) return;
    if (events & (EPOLLERR | EPOLLHUP)) owner.loop_.unwatch(fd.get());
    auto* const control = static_cast<perf_event_mmap_page*>(ring);
    const std::atomic_ref<__u64> head(control->data_head);
    const std::atomic_ref<__u64> tail(control->data_tail);
    std::vector<SocketHint> hints;
    bool lost = (events & (EPOLLERR | EPOLLHUP)) != 0;
    const std::uint64_t end = head.load(std::memory_order_acquire);
    std::uint64_t at = tail.load(std::memory_order_relaxed);
    while (at < end) {
      perf_event_header header{};
      copy(at, &header, sizeof header);
      if (header.size < sizeof header) break;
      if (header.type != PERF_RECORD_SAMPLE)
        lost = lost || header.type == PERF_RECORD_LOST;
      else
        hints.push_back(hint(at + sizeof header, header.size - sizeof header));
      at += header.size;
    }
    tail.store(end, std::memory_order_release);
    if (lost) hints.clear();
    owner.listener_(hints);
  }

  // pid, tid, size and bytes of the tracepoint's record.
  SocketHint hint(std::uint64_t at, std::size_t size) const {
    SocketHint found;
    constexpr std::size_t raw = 12;
    std::uint8_t record[raw + 64] = {};
    copy(at, record, std::min(size, sizeof record));
    std::memcpy(&found.pid, record, sizeof found.pid);
    int state = 0;
    std::memcpy(&state, record + raw + owner.layout_.new_state, sizeof state);
    std::memcpy(&found.port, record + raw + owner.layout_.port, sizeof found.port);
    found.begins = state == state_listen;
    return found;
  }

  // Out of the ring.
  void copy(std::uint64_t at, void* into, std::size_t size) const {
    const auto* const data = static_cast<const std::uint8_t*>(ring) + page;
    for (std::size_t index = 0; index < size; ++index)
      static_cast<std::uint8_t*>(into)[index] = data[(at + index) % data_bytes];
  }

  static inline const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  TcpWakeUp& owner;
  Fd fd;
  void* ring = nullptr;
};

TcpWakeUp::TcpWakeUp(Loop& loop, Listener listener) : loop_(loop), listener_(std::move(listener)) {}

TcpWakeUp::~TcpWakeUp() {
  // Events for them may be on their way.
  for (auto& cpu : each_cpu_) {
    loop_.unwatch(cpu->fd.get());
    cpu->fd.reset();
    loop_.retire(std::move(cpu));
  }
}

bool TcpWakeUp::read_layout(Layout& layout) {
  Fd detached;
  for (const char* const place : {"/sys/kernel/tracing/", "/sys/kernel/debug/tracing/", ""}) {
    if (*place == '\0' && !(detached = detached_tracefs())) return false;
    const std::string folder = std::string(place) + tracepoint;
    const int directory = *place == '\0' ? detached.get() : AT_FDCWD;
    layout.id = std::strtoull(read_at(directory, folder + "id").c_str(), nullptr, 10);
    const std::string format = read_at(directory, folder + "format");
    layout.new_state = offset_of(format, "newstate");
    layout.port = offset_of(format, "sport");
    if (layout.id != 0 && layout.new_state > 0 && layout.port > 0 && layout.new_state <= 60 &&
        layout.port <= 60)
      return true;
  }
  return false;
}

std::string TcpWakeUp::open() {
  if (!read_layout(layout_)) return "no tracepoint";
  cpus_ = online_cpus();
  const std::vector<int> numbers = numbers_in(cpus_);
  if (numbers.empty()) return "no list of processors";
  for (const int number : numbers) {
    perf_event_attr attributes{};
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.size = sizeof attributes;
    attributes.config = layout_.id;
    attributes.sample_period = 1;
    attributes.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_RAW;
    attributes.wakeup_events = 1;
    attributes.disabled = 1;
    auto cpu = std::make_unique<Cpu>(*this);
    cpu->fd.reset(static_cast<int>(
        syscall(SYS_perf_event_open, &attributes, -1, number, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!cpu->fd) return system_error(errno, "perf_event_open").message;
    const int fd = cpu->fd.get();
    void* const ring =
        mmap(nullptr, Cpu::page + data_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED) return system_error(errno, "ring of perf events").message;
    cpu->ring = ring;
    if (ioctl(fd, PERF_EVENT_IOC_SET_FILTER, only_listening) < 0)
      return system_error(errno, "filter of perf events").message;
    if (!loop_.watch(fd, EPOLLIN, *cpu)) return system_error(errno, "epoll_ctl").message;
    if (ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) < 0) return system_error(errno, "perf events").message;
    each_cpu_.push_back(std::move(cpu));
  }
  return {};
}

std::unique_ptr<TcpWakeUp> TcpWakeUp::create(Loop& loop, Listener listener, std::string& why) {
  std::unique_ptr<TcpWakeUp> made(new TcpWakeUp(loop, std::move(listener)));
  why = made->open();
  if (!why.empty()) made.reset();
  return made;
}

bool TcpWakeUp::covers_all() const {
  return online_cpus() == cpus_;
}

}  // namespace vf::guest
