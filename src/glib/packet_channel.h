// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <glib.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "glib/source.h"

namespace vf {

// One end of a connected SOCK_SEQPACKET socket that carries packets with descriptors, on a
// GMainContext and never blocking. Used on the context's thread only.
class PacketChannel {
 public:
  // `bytes` are valid until it returns or destroys the channel; `fds` are close-on-exec.
  using OnPacket = std::function<void(std::span<const std::uint8_t> bytes, std::vector<Fd> fds)>;
  // The peer is gone or cannot be understood (a packet longer than the limit, descriptors that did
  // not fit into this process); the reason is for people. Called once, never inside send().
  using OnClosed = std::function<void(const std::string& reason)>;
  // What was queued has been handed to the kernel.
  using OnDrained = std::function<void()>;

  struct Limits {
    std::size_t packet_bytes;
    std::size_t packet_fds;
    std::size_t queued_bytes;  // a peer that lets more than this pile up is given up
  };

  // Each function may destroy the channel. `on_drained` may be empty.
  PacketChannel(Fd socket, Limits limits, OnPacket on_packet, OnClosed on_closed,
                OnDrained on_drained, GMainContext* context);
  ~PacketChannel();
  PacketChannel(const PacketChannel&) = delete;
  PacketChannel& operator=(const PacketChannel&) = delete;

  // Sends at once what the socket takes, in order, and queues the rest. After an error the packet
  // is dropped and on_closed follows.
  void send(std::vector<std::uint8_t> bytes, std::vector<Fd> fds);
  bool drained() const { return queue_.empty(); }

 private:
  struct Packet {
    std::vector<std::uint8_t> bytes;
    std::vector<Fd> fds;
  };
  enum class Sent { yes, later, failed };

  Sent send_now(const Packet& packet);
  void flush();
  void wait_to_send(int error_number);
  void receive();
  void close_later(std::string reason);

  Fd socket_;
  Limits limits_;
  OnPacket on_packet_;
  OnClosed on_closed_;
  OnDrained on_drained_;
  GMainContext* context_;
  std::vector<std::uint8_t> receive_bytes_;
  std::vector<std::byte> receive_control_;
  std::deque<Packet> queue_;
  std::size_t queued_bytes_ = 0;
  Source readable_;
  Source writable_;
  Source closing_;
  // Cleared by the destructor: tells a function on the stack that its channel is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace vf
