// SPDX-License-Identifier: LGPL-2.1-or-later
//
// An agent in a thread of its own, at a unix socket that stands in for vsock, and the host's side.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "guest/server.h"
#include "wire/guest.h"

namespace vf::guest {

// Counts the dumps, and can make sockets up.
class CountedTable final : public SocketTable {
 public:
  bool dump(bool udp, std::vector<BoundSocket>& into) override;
  std::atomic<int> dumps{0};
  std::atomic<std::uint32_t> invented{0};             // TCP sockets that are nowhere but here
  std::atomic<std::chrono::milliseconds> duration{};  // of looking at them

 private:
  KernelSocketTable kernel_;
};

class AgentThread {
 public:
  explicit AgentThread(Config config = {}, Limits limits = {});
  ~AgentThread();

  // Runs in the agent's thread, soon.
  void configure(Config config);
  // A connection that says nothing yet.
  Fd connect() const;
  CountedTable sockets;
  GuestToken token{};

 private:
  struct Bell;
  std::string path_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Bell> bell_;
  std::thread thread_;
};

Config parsed(const std::string& text);

// As the host does; every one of them waits a few seconds at most, and then fails.
void send_all(const Fd& to, std::span<const std::uint8_t> bytes);
void send_text(const Fd& to, const std::string& text);
// Exactly so many bytes, or less where the end came first.
std::string receive(const Fd& from, std::size_t count);
// recv() says 0; `reset` when nothing can be sent any more.
struct Ending {
  bool ended = false;
  bool reset = false;
  int error_number = 0;
};
Ending ending_of(const Fd& stream);
GuestReply reply_from(const Fd& host);
// Connects, asks and takes the reply.
struct Asked {
  Fd stream;
  GuestReply reply;
};
Asked ask(const AgentThread& agent, const GuestRequest& request, const std::string& early = "");
GuestRequest to_port(const AgentThread& agent, std::uint16_t port,
                     GuestService service = GuestService::stream);
GuestRequest to_path(const AgentThread& agent, const std::string& path);

class ControlClient {
 public:
  explicit ControlClient(const AgentThread& agent, std::uint16_t flags = 0);
  // Nothing within the time, or the end of the stream.
  std::optional<GuestFrame> next(std::chrono::milliseconds within = std::chrono::seconds(5));
  // Up to the end of the snapshot.
  std::vector<GuestListener> snapshot();
  // Passes over what is about other ports.
  std::optional<GuestListener> listens(std::uint16_t port,
                                       std::chrono::milliseconds within = std::chrono::seconds(5));
  bool gone(std::uint16_t port, std::chrono::milliseconds within = std::chrono::seconds(5));

  Fd stream;
  GuestReply reply;
  GuestHello hello;
  std::uint32_t left_out = 0;

 private:
  GuestFrameReader frames_;
};

// A TCP socket on 127.0.0.1 (or another address), that listens at a port of the kernel's choice.
struct TestListener {
  explicit TestListener(const char* address = "127.0.0.1", bool listens = true);
  Fd accept() const;
  Fd socket;
  std::uint16_t port = 0;
};

}  // namespace vf::guest
