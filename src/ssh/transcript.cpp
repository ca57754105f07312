// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/transcript.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/printable.h"

namespace vf {
namespace {

constexpr std::size_t max_reason_bytes = 400;

// True, and off the front it is.
bool skip(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Of "3: …" behind "channel ".
std::optional<unsigned> number(std::string_view& text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return skip(text, ": ") ? std::optional(value) : std::nullopt;
}

// Says nothing of trouble.
bool is_chatter(std::string_view text) {
  for (const std::string_view prefix :
       {"OpenSSH_", "Authenticated to ", "Authenticated using ", "Transferred: ",
        "Bytes per second", "Warning: Permanently added ", "@@@", "mux_", "muxclient",
        // what it makes of a proxy command's words
        "mm_receive_fd", "proxy dialer did not pass back a connection"})
    if (text.starts_with(prefix)) return true;
  return text.find_first_not_of(" \t") == text.npos;
}

}  // namespace

void Transcript::take(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto end = bytes.find_first_of("\r\n");
    const std::string_view part = bytes.substr(0, end);
    partial_ += part.substr(0, max_line_bytes - partial_.size());
    if (end == bytes.npos) return;
    line(std::exchange(partial_, {}));
    bytes.remove_prefix(end + 1);
  }
}

void Transcript::line(std::string_view text) {
  if (skip(text, "debug1: ")) return debug_line(text);
  if (std::string_view rest = text; skip(rest, "channel ")) return channel_failed(rest);
  if (is_chatter(text)) return;
  if (text.starts_with("Host key verification failed")) key_refused_ = true;
  if (text.starts_with("Failed to add the host to the list of known hosts")) key_not_pinned_ = true;
  reason_ = printable(text, max_reason_bytes);
  if (text.starts_with("Load key ")) load_key_ = reason_;
}

// "Connection to port -2 forwarding to localhost port 80 requested."
// "channel 2: new direct-tcpip [direct-tcpip] (inactive timeout: 0)"; older: "new [direct-tcpip]"
// "channel 2: free: direct-tcpip: listening port …"
void Transcript::debug_line(std::string_view text) {
  if (skip(text, "Connection to port ")) {
    constexpr std::string_view before = " forwarding to ";
    constexpr std::string_view after = " requested.";
    const auto at = text.find(before);
    if (at == text.npos || !text.ends_with(after)) return;
    text.remove_prefix(at + before.size());
    text.remove_suffix(std::min(text.size(), after.size()));
    requested_ = text;
    return;
  }
  if (!skip(text, "channel ")) return;
  const auto channel = number(text);
  if (!channel) return;
  if (skip(text, "new ")) {
    if (text.find("direct-") > 1 || requested_.empty() || channels_.size() >= max_channels) return;
    channels_[*channel] = {std::exchange(requested_, {})};
  } else if (text.starts_with("free: ")) {
    const auto found = channels_.extract(*channel);
    if (found && !found.mapped().refused) on_connection_(found.mapped().target, {});
  }
}

// "channel 2: open failed: connect failed: Connection refused"
void Transcript::channel_failed(std::string_view text) {
  const auto channel = number(text);
  if (!channel || !skip(text, "open failed: ")) return;
  const auto found = channels_.find(*channel);
  if (found == channels_.end()) return;
  found->second.refused = true;
  skip(text, "connect failed: ");
  std::string reason = printable(text, max_reason_bytes);
  on_connection_(found->second.target, reason.empty() ? "it was refused" : reason);
}

std::string Transcript::reason() const {
  if (load_key_.empty() || load_key_ == reason_) return reason_;
  return load_key_ + "; " + reason_;
}

}  // namespace vf
