// SPDX-License-Identifier: LGPL-2.1-or-later

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <thread>

#include "clients.h"

namespace vf::load {
namespace {

constexpr std::size_t payload_bytes = 100'000;  // more than one buffer of most relays

// A relay that loses the bytes shows within this.
constexpr Milliseconds patience{300};

Fd blocking(std::uint16_t port) {
  Fd socket = connect_tcp(port);
  make_blocking(socket);
  return socket;
}

// -1: nothing within the time, or an error; errno says which.
ssize_t patient_recv(const Fd& socket, void* data, std::size_t length) {
  pollfd ready{socket.get(), POLLIN, 0};
  if (poll(&ready, 1, static_cast<int>(patience.count())) < 1) {
    errno = ETIMEDOUT;
    return -1;
  }
  return recv(socket.get(), data, length, MSG_WAITALL);
}

bool reaches(const std::atomic<std::uint64_t>& counter, std::uint64_t value) {
  const Time end = Clock::now() + patience;
  while (counter < value && Clock::now() < end)
    std::this_thread::sleep_for(Milliseconds(1));
  return counter == value;
}

// The answer to all that was sent comes after the client has ended its direction.
bool client_ends(const Options& options) {
  const Fd socket = blocking(options.port);
  const std::vector<char> payload(payload_bytes, static_cast<char>(Mode::client_ends));
  send_all(socket, payload.data(), payload.size());
  if (shutdown(socket.get(), SHUT_WR) < 0) return false;
  std::uint64_t counted = 0;
  return patient_recv(socket, &counted, sizeof counted) == sizeof counted &&
         counted == payload_bytes;
}

// What the client sends after it has seen the server's end still arrives.
bool server_ends(const Options& options, const Counters& counters) {
  const Fd socket = blocking(options.port);
  const char mode = static_cast<char>(Mode::server_ends);
  char answer = 0;
  send_all(socket, &mode, 1);
  if (patient_recv(socket, &answer, 1) != 1 || patient_recv(socket, &answer, 1) != 0) return false;
  const std::uint64_t want = counters.late + payload_bytes;
  const std::vector<char> payload(payload_bytes, 'p');
  std::size_t sent = 0;
  while (sent < payload.size()) {
    const ssize_t some =
        send(socket.get(), payload.data() + sent, payload.size() - sent, MSG_NOSIGNAL);
    if (some <= 0) return false;
    sent += static_cast<std::size_t>(some);
  }
  return shutdown(socket.get(), SHUT_WR) == 0 && reaches(counters.late, want);
}

bool client_resets(const Options& options, const Counters& counters) {
  Fd socket = blocking(options.port);
  const char mode = static_cast<char>(Mode::client_resets);
  char answer = 0;
  send_all(socket, &mode, 1);
  if (patient_recv(socket, &answer, 1) != 1) return false;
  const std::uint64_t want = counters.resets + 1;
  const std::uint64_t seen = counters.ends + counters.resets + 1;
  reset_on_close(socket);
  socket.reset();
  const Time end = Clock::now() + patience;
  while (counters.ends + counters.resets < seen && Clock::now() < end)
    std::this_thread::sleep_for(Milliseconds(1));
  return counters.resets == want;
}

bool server_resets(const Options& options) {
  const Fd socket = blocking(options.port);
  const char mode = static_cast<char>(Mode::server_resets);
  char answer = 0;
  send_all(socket, &mode, 1);
  return patient_recv(socket, &answer, 1) < 0 && errno == ECONNRESET;
}

}  // namespace

void endings(const Options& options) {
  const Counters& counters = map_counters(options.counters);
  std::size_t client_ended = 0, server_ended = 0, client_reset = 0, server_reset = 0;
  for (std::size_t count = 0; count < options.connections; ++count) {
    client_ended += client_ends(options);
    server_ended += server_ends(options, counters);
    client_reset += client_resets(options, counters);
    server_reset += server_resets(options);
  }
  std::printf(
      "{\"of\": %zu, \"client_ends\": %zu, \"server_ends\": %zu, \"client_resets\": %zu, "
      "\"server_resets\": %zu}\n",
      options.connections, client_ended, server_ended, client_reset, server_reset);
}

}  // namespace vf::load
