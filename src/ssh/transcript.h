// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What ssh says on standard error, at LogLevel DEBUG1, as the master of some forwards. Partly the
// guest's words (its banner, why it refuses a connection), so it is bounded and made printable, and
// nothing but reasons shown to people comes of it: a guest that forges lines lies about its own
// forwards.

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace vf {

class Transcript {
 public:
  // A connection through a forward: `target` as log_spelling() has it. Without a reason it has
  // reached the target, and is over.
  using OnConnection = std::function<void(const std::string& target, const std::string& reason)>;

  explicit Transcript(OnConnection on_connection) : on_connection_(std::move(on_connection)) {}

  void take(std::string_view bytes);
  // Of the last line that tells of trouble; empty: none did.
  std::string reason() const;
  // That the guest's key is not the pinned one, or could not be pinned.
  bool key_refused() const { return key_refused_; }
  bool key_not_pinned() const { return key_not_pinned_; }

 private:
  struct Channel {
    std::string target;
    bool refused = false;
  };
  static constexpr std::size_t max_line_bytes = 4096;
  static constexpr std::size_t max_channels = 65536;

  void line(std::string_view text);
  void debug_line(std::string_view text);
  void channel_failed(std::string_view text);

  OnConnection on_connection_;
  std::string partial_;
  std::string load_key_;
  std::string reason_;
  std::string requested_;  // target of the connection that was last accepted
  std::map<unsigned, Channel> channels_;
  bool key_refused_ = false;
  bool key_not_pinned_ = false;
};

}  // namespace vf
