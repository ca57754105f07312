// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the messages of wire/relay.h are made of. For the files that encode and decode them.
//
// A message is a header (length of the whole, kind, number of descriptors) and its fields, without
// padding. Text and lists have a length in front.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "wire/relay.h"

namespace vf::relay_codec {

class Writer {
 public:
  explicit Writer(std::vector<std::uint8_t>& bytes) : bytes_(bytes) {}

  template <typename T>
  void number(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto at = bytes_.size();
    bytes_.resize(at + sizeof value);
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  void raw(std::span<const std::uint8_t> data) {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
  }
  // Of at most 65535 bytes.
  void text(std::string_view text);
  void key(std::string_view key) { text(key); }
  void forward(const RelayForward& forward);
  void endpoint(const RelayEndpoint& endpoint);
  void listener(const ListenerKey& key);
  void listener(const GuestListener& listener);

 private:
  void put(const Endpoint& endpoint);
  void put(const UnixEndpoint& endpoint);
  void put(const VsockEndpoint& endpoint);
  void put(const AgentEndpoint& endpoint);

  std::vector<std::uint8_t>& bytes_;
};

// Reads past the end give zeroes and leave the reader failed, and so does what fits() not.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  bool failed() const { return failed_; }
  void fail() { failed_ = true; }
  bool complete() const { return !failed_ && rest_.empty(); }

  std::span<const std::uint8_t> raw(std::size_t length);
  template <typename T>
  T number() {
    static_assert(std::is_integral_v<T>);
    T value = 0;
    const auto taken = raw(sizeof value);
    if (!taken.empty()) std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  // One of the values from 0 to `last`.
  template <typename T>
  T choice(T last) {
    const auto value = number<std::uint8_t>();
    if (value > static_cast<std::uint8_t>(last)) failed_ = true;
    return static_cast<T>(value);
  }
  bool flag() { return choice<std::uint8_t>(1) != 0; }
  std::string text(std::size_t most);
  std::string printable_text(std::size_t most);
  std::string key();
  RelayForward forward();
  // Nothing when it failed.
  std::optional<RelayEndpoint> endpoint();
  ListenerKey listener_key();
  GuestListener listener();
  Fd only(std::vector<Fd>& fds);

 private:
  std::optional<RelayEndpoint> inet(std::size_t length);
  std::optional<RelayEndpoint> agent(std::size_t length);

  std::span<const std::uint8_t> rest_;
  bool failed_ = false;
};

// Within the limits.
bool fits(const std::string& key);
bool fits(const RelayForward& forward);
bool fits(const RelayEndpoint& endpoint);
bool fits(const GuestListener& listener);
// Of at most so many bytes, all of which print.
bool fits_printable(const std::string& text, std::size_t most);

// For each kind of message: is it within the limits, what it looks like, and what it was.
template <typename T>
struct Codec;

}  // namespace vf::relay_codec
