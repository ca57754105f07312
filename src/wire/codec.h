// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What messages between our own processes on one host are made of: daemon and relay, daemon and
// ssh's supervisor. For the files that encode and decode them.
//
// A packet holds messages one behind the other. A message is a header (length of the whole, kind,
// number of descriptors) and its fields, without padding, integers in native byte order. Text and
// lists have a length in front.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/fd.h"
#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf::codec {

inline constexpr std::size_t key_max_bytes = 512;

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
  void endpoint(const RelayEndpoint& endpoint);

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
  // Nothing when it failed.
  std::optional<RelayEndpoint> endpoint();
  Fd only(std::vector<Fd>& fds);

 private:
  std::optional<RelayEndpoint> inet(std::size_t length);
  std::optional<RelayEndpoint> agent(std::size_t length);

  std::span<const std::uint8_t> rest_;
  bool failed_ = false;
};

// Within the limits.
bool fits(const std::string& key);
bool fits(const RelayEndpoint& endpoint);
// Of at most so many bytes, all of which print.
bool fits_printable(const std::string& text, std::size_t most);

// --- packets. The kind of a message on the wire is its place in the variant Message, counted from
// 1: append only. Codec<T> has, for each kind: valid(message), is it within the limits;
// write(message, Writer&); read(Reader&, fds). Protocol has the names and limits:
//
//   struct Protocol {
//     using Message = std::variant<...>;
//     template <typename T> using Codec = ...;
//     using Writer = ...; using Reader = ...;
//     static constexpr std::size_t max_bytes, max_fds;
//     static constexpr std::string_view name;               // of a packet, in words
//     static std::vector<Fd>* fds_of(Message&);             // null: it has none
//   };

inline constexpr std::size_t header_bytes = sizeof(std::uint32_t) + 2 * sizeof(std::uint16_t);

// False, and nothing is changed, where it does not fit or is not valid.
template <typename Protocol>
bool append(std::vector<std::uint8_t>& bytes, std::vector<Fd>& fds,
            typename Protocol::Message& message) {
  std::vector<Fd>* const own = Protocol::fds_of(message);
  const std::size_t fd_count = own ? own->size() : 0;
  if (fds.size() + fd_count > Protocol::max_fds) return false;
  const bool valid = std::visit(
      [](const auto& typed) {
        return Protocol::template Codec<std::decay_t<decltype(typed)>>::valid(typed);
      },
      message);
  if (!valid) return false;

  const std::size_t begin = bytes.size();
  typename Protocol::Writer to(bytes);
  to.number(std::uint32_t{0});
  to.number(static_cast<std::uint16_t>(message.index() + 1));
  to.number(static_cast<std::uint16_t>(fd_count));
  std::visit(
      [&](const auto& typed) {
        Protocol::template Codec<std::decay_t<decltype(typed)>>::write(typed, to);
      },
      message);
  if (bytes.size() > Protocol::max_bytes) {
    bytes.resize(begin);
    return false;
  }
  const auto length = static_cast<std::uint32_t>(bytes.size() - begin);
  std::memcpy(bytes.data() + begin, &length, sizeof length);
  if (own) {
    std::move(own->begin(), own->end(), std::back_inserter(fds));
    own->clear();
  }
  return true;
}

template <typename Protocol, std::size_t... kinds>
typename Protocol::Message read_message(std::size_t index, typename Protocol::Reader& from,
                                        std::vector<Fd>& fds, std::index_sequence<kinds...>) {
  typename Protocol::Message message;
  const auto read_if = [&]<std::size_t kind>(std::integral_constant<std::size_t, kind>) {
    using T = std::variant_alternative_t<kind, typename Protocol::Message>;
    if (kind == index) message.template emplace<kind>(Protocol::template Codec<T>::read(from, fds));
  };
  (read_if(std::integral_constant<std::size_t, kinds>{}), ...);
  return message;
}

template <typename Protocol>
Result<std::vector<typename Protocol::Message>> decode(std::span<const std::uint8_t> bytes,
                                                       std::vector<Fd> fds) {
  constexpr auto kinds = std::variant_size_v<typename Protocol::Message>;
  const auto malformed = [](std::string_view what) {
    return Unexpected(ErrorCode::invalid_argument,
                      std::string(Protocol::name) + ": " + std::string(what));
  };
  if (bytes.size() > Protocol::max_bytes) return malformed("too long");
  std::vector<typename Protocol::Message> messages;
  std::size_t used_fds = 0;
  while (!bytes.empty()) {
    Reader header(bytes);
    const auto length = header.number<std::uint32_t>();
    const auto kind = header.number<std::uint16_t>();
    const auto fd_count = header.number<std::uint16_t>();
    if (header.failed() || length < header_bytes || length > bytes.size())
      return malformed("a length is wrong");
    if (kind < 1 || kind > kinds) return malformed("unknown kind " + std::to_string(kind));
    if (fd_count > fds.size() - used_fds) return malformed("a descriptor is missing");

    const auto first = fds.begin() + static_cast<std::ptrdiff_t>(used_fds);
    std::vector<Fd> own(std::make_move_iterator(first), std::make_move_iterator(first + fd_count));
    used_fds += fd_count;
    typename Protocol::Reader body(bytes.subspan(header_bytes, length - header_bytes));
    messages.push_back(
        read_message<Protocol>(kind - 1u, body, own, std::make_index_sequence<kinds>{}));
    if (!body.complete()) return malformed("kind " + std::to_string(kind) + " is malformed");
    if (!own.empty()) return malformed("a descriptor too many");
    bytes = bytes.subspan(length);
  }
  if (used_fds != fds.size()) return malformed("a descriptor too many");
  return messages;
}

}  // namespace vf::codec
