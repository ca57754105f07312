// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/guest_watch.h"

#include <linux/vm_sockets.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/error.h"

namespace vf {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_delay{100};
constexpr milliseconds longest_delay{1'000};
// A guest that has not answered for so long probably has no agent.
constexpr milliseconds unlikely_after{120'000};
constexpr milliseconds unlikely_delay{10'000};

constexpr std::uint32_t lowest_privileged_port = 512;
constexpr std::uint32_t first_unprivileged_port = 1024;

// An ordinary user's daemon may have no such port: then any, which the agent may refuse.
void bind_privileged(int socket) {
  const std::uint32_t count = first_unprivileged_port - lowest_privileged_port;
  const auto begin = static_cast<std::uint32_t>(g_random_int_range(0, static_cast<gint32>(count)));
  for (std::uint32_t i = 0; i < count; ++i) {
    sockaddr_vm local{};
    local.svm_family = AF_VSOCK;
    local.svm_cid = VMADDR_CID_ANY;
    local.svm_port = lowest_privileged_port + (begin + i) % count;
    if (bind(socket, reinterpret_cast<const sockaddr*>(&local), sizeof local) == 0) return;
    if (errno != EADDRINUSE) return;
  }
}

std::string in_words(int error_number, const RelayEndpoint& agent) {
  switch (error_number) {
    case ENODEV:
    case ETIMEDOUT:
    case EHOSTUNREACH:
      return "its kernel does not answer on vsock (yet)";
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOENT:
      return "nothing listens on " + text(agent) + " (is the agent installed and running there?)";
    default:
      return system_error(error_number, text(agent)).message;
  }
}

}  // namespace

struct GuestWatch::Guest {
  Guest(std::string its_uuid, RelayEndpoint its_agent)
      : uuid(std::move(its_uuid)), agent(std::move(its_agent)) {}

  std::string uuid;
  RelayEndpoint agent;
  Fd socket;  // that connects
  milliseconds delay{0};
  gint64 missing_since = 0;
  std::string told;
  Source next;
};

GuestWatch::GuestWatch(Observer& observer) : observer_(observer) {}

GuestWatch::~GuestWatch() = default;

void GuestWatch::watch(const std::string& uuid, const RelayEndpoint& agent) {
  auto& guest = guests_[uuid];
  if (guest && guest->agent == agent) return;
  guest = std::make_unique<Guest>(uuid, agent);
  lost(uuid);
}

void GuestWatch::forget(const std::string& uuid) {
  guests_.erase(uuid);
}

void GuestWatch::lost(const std::string& uuid) {
  const auto found = guests_.find(uuid);
  if (found == guests_.end()) return;
  Guest& guest = *found->second;
  guest.missing_since = g_get_monotonic_time();
  guest.socket.reset();
  guest.next = after(guest.delay, [this, &guest] { open(guest); });
  guest.delay = first_delay;
}

void GuestWatch::lost_all() {
  for (const auto& [uuid, guest] : guests_) {
    guest->delay = milliseconds(0);
    lost(uuid);
  }
}

void GuestWatch::open(Guest& guest) {
  const auto address = socket_address(guest.agent);
  if (!address) return again(guest, EINVAL);
  const int family = address->storage.ss_family;
  guest.socket.reset(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!guest.socket) return again(guest, errno);
  if (family == AF_VSOCK) bind_privileged(guest.socket.get());
  if (connect(guest.socket.get(), address->get(), address->length) == 0) return settle(guest);
  if (errno != EINPROGRESS) return again(guest, errno);
  guest.next = watch_fd(guest.socket.get(), G_IO_OUT, [this, &guest](GIOCondition) {
    int error_number = 0;
    socklen_t length = sizeof error_number;
    if (getsockopt(guest.socket.get(), SOL_SOCKET, SO_ERROR, &error_number, &length) < 0)
      error_number = errno;
    if (error_number != 0) return again(guest, error_number);
    settle(guest);
  });
}

void GuestWatch::settle(Guest& guest) {
  guest.next.reset();
  guest.told.clear();
  observer_.agent_reached(guest.uuid, guest.agent, std::move(guest.socket));
}

void GuestWatch::again(Guest& guest, int error_number) {
  guest.socket.reset();
  const gint64 missing = g_get_monotonic_time() - guest.missing_since;
  const bool unlikely = missing > std::chrono::microseconds(unlikely_after).count();
  guest.next = after(unlikely ? unlikely_delay : guest.delay, [this, &guest] { open(guest); });
  guest.delay = std::clamp(guest.delay * 2, first_delay, longest_delay);
  std::string reason = in_words(error_number, guest.agent);
  if (reason == guest.told) return;
  guest.told = reason;
  observer_.agent_missed(guest.uuid, reason);
}

}  // namespace vf
