// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Datagrams by the batch: one system call for many, and one datagram of the kernel's for a run of
// many of the same size, where it can (UDP_GRO on the way in, UDP_SEGMENT on the way out).

#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/address.h"

namespace vf {

// What was received in one call. Lasts until the next receive() of its thread.
class DatagramBatch {
 public:
  static constexpr std::size_t capacity = 64;

  struct Datagram {
    std::span<const std::uint8_t> bytes;
    std::uint16_t segment;  // not 0: several of this size, the last may be shorter
  };

  // The one of this thread, which handles one batch at a time.
  static DatagramBatch& of_this_thread();

  // As recvmmsg(), without waiting.
  int receive(int fd);
  Datagram datagram(std::size_t index) const;
  const SocketAddress& sender(std::size_t index) const { return senders_[index]; }
  // The address that it was sent to, where the socket was asked to tell it; else null.
  const in_pktinfo* to_v4(std::size_t index) const;
  const in6_pktinfo* to_v6(std::size_t index) const;

 private:
  static constexpr std::size_t datagram_bytes = 65536;
  // Not a power of two, so that the beginnings of datagrams do not share one set of the cache.
  static constexpr std::size_t stride = datagram_bytes + 320;
  static constexpr std::size_t control_bytes = 128;

  DatagramBatch();
  const void* control(std::size_t index, int level, int type) const;

  std::unique_ptr<std::uint8_t[]> bytes_;
  std::array<SocketAddress, capacity> senders_;
  std::array<iovec, capacity> parts_;
  alignas(cmsghdr) std::array<std::array<std::uint8_t, control_bytes>, capacity> controls_;
  std::array<mmsghdr, capacity> messages_;
  std::size_t used_ = capacity;  // slots that the call before wrote to
};

// Where a DatagramWriter writes. The address of a connected socket is empty.
struct DatagramRoute {
  int fd;
  const SocketAddress* to = nullptr;
  // The address to write from, of a socket that has several.
  const in_pktinfo* from_v4 = nullptr;
  const in6_pktinfo* from_v6 = nullptr;
};

// Writes datagrams in order, without waiting: what the kernel does not take is lost.
class DatagramWriter {
 public:
  // `segments`: whether to try runs; becomes false where the way does not take them.
  DatagramWriter(const DatagramRoute& route, bool& segments);
  ~DatagramWriter() { flush(); }
  DatagramWriter(const DatagramWriter&) = delete;
  DatagramWriter& operator=(const DatagramWriter&) = delete;

  // The bytes stay the caller's until flush().
  void put(const DatagramBatch::Datagram& datagram);
  void flush();

  std::uint64_t bytes() const { return bytes_; }      // that were taken
  std::uint64_t lost() const { return lost_; }        // datagrams
  int error_number() const { return error_number_; }  // the last one

 private:
  static constexpr std::size_t max_parts = DatagramBatch::capacity;
  static constexpr std::size_t max_run_bytes = 65'000;
  static constexpr std::size_t max_run_segment = 1400;  // within any usual MTU

  struct Message {
    std::size_t first;  // part
    std::size_t count;
    std::size_t bytes;
    std::size_t segment;  // 0: one datagram
  };

  bool joins(std::span<const std::uint8_t> bytes) const;
  void begin(std::span<const std::uint8_t> bytes, std::size_t segment);
  std::size_t send(std::size_t first);
  void send_apart(const Message& message);
  bool send_one(std::span<const std::uint8_t> bytes);
  void fill(mmsghdr& header, const Message& message);
  std::size_t write_control(std::uint8_t* to, std::size_t segment) const;
  static std::size_t datagrams(const Message& message);

  static constexpr std::size_t control_bytes = 128;
  const DatagramRoute route_;
  bool& segments_;
  std::array<iovec, max_parts> parts_;
  std::array<Message, max_parts> messages_;
  std::size_t part_count_ = 0;
  std::size_t message_count_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t lost_ = 0;
  int error_number_ = 0;
};

}  // namespace vf
