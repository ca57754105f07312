// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Message: version u8, operation u8, flags u8, moment u64 (ns), run u32 (0 without the flag), then
// uuid and name (u16 length each) and the element (u32 length). Reply: version u8, accepted u8,
// message (u16 length). Nothing may follow.

#include "wire/hook.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace vf {
namespace {

constexpr std::array<std::pair<HookOperation, std::string_view>, 10> operation_names{{
    {HookOperation::other, "other"},
    {HookOperation::prepare, "prepare"},
    {HookOperation::start, "start"},
    {HookOperation::started, "started"},
    {HookOperation::stopped, "stopped"},
    {HookOperation::release, "release"},
    {HookOperation::reconnect, "reconnect"},
    {HookOperation::migrate, "migrate"},
    {HookOperation::restore, "restore"},
    {HookOperation::attach, "attach"},
}};

constexpr std::uint8_t wants_answer_flag = 1;
constexpr std::uint8_t has_run_flag = 2;
constexpr std::size_t reply_overhead = 4 + 4;

class Writer {
 public:
  Writer() : bytes_(4) {}  // room for the prefix

  void number(std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i)
      bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
  void text(std::string_view value, std::size_t width) {
    number(value.size(), width);
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  std::vector<std::uint8_t> finish() && {
    const std::size_t length = bytes_.size() - 4;
    for (std::size_t i = 0; i < 4; ++i)
      bytes_[i] = static_cast<std::uint8_t>(length >> (8 * i));
    return std::move(bytes_);
  }

 private:
  std::vector<std::uint8_t> bytes_;
};

// Reading past the end gives zeros and marks the whole as broken.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  std::uint64_t number(std::size_t width) {
    std::uint64_t value = 0;
    const auto bytes = take(width);
    for (std::size_t i = 0; i < bytes.size(); ++i)
      value |= std::uint64_t{bytes[i]} << (8 * i);
    return value;
  }
  std::string text(std::size_t width) {
    const auto bytes = take(number(width));
    return std::string(bytes.begin(), bytes.end());
  }
  bool complete() const { return !broken_ && rest_.empty(); }

 private:
  std::span<const std::uint8_t> take(std::uint64_t count) {
    if (count > rest_.size()) {
      broken_ = true;
      rest_ = {};
    }
    const auto taken = rest_.first(broken_ ? 0 : static_cast<std::size_t>(count));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

  std::span<const std::uint8_t> rest_;
  bool broken_ = false;
};

Unexpected malformed(std::string_view what) {
  return Unexpected(ErrorCode::invalid_argument, "hook message: " + std::string(what));
}

}  // namespace

HookOperation hook_operation(std::string_view argument) {
  for (const auto& [operation, name] : operation_names)
    if (name == argument) return operation;
  return HookOperation::other;
}

std::string_view text(HookOperation operation) {
  for (const auto& [known, name] : operation_names)
    if (known == operation) return name;
  return "other";
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

std::vector<std::uint8_t> encode(const HookMessage& message) {
  const std::string_view name = message.name;
  const std::string_view element = message.element;
  Writer writer;
  writer.number(HookMessage::version, 1);
  writer.number(static_cast<std::size_t>(message.operation), 1);
  writer.number((message.wants_answer ? wants_answer_flag : 0U) | (message.run ? has_run_flag : 0U),
                1);
  writer.number(static_cast<std::uint64_t>(message.moment.count()), 8);
  writer.number(static_cast<std::uint32_t>(message.run.value_or(0)), 4);
  writer.text(message.uuid, 2);
  writer.text(name.substr(0, HookMessage::max_name_bytes), 2);
  writer.text(element.size() <= HookMessage::max_element_bytes ? element : "", 4);
  return std::move(writer).finish();
}

std::vector<std::uint8_t> encode(const HookReply& reply) {
  const std::string_view message = reply.message;
  Writer writer;
  writer.number(HookMessage::version, 1);
  writer.number(reply.accepted ? 1 : 0, 1);
  writer.text(message.substr(0, HookReply::max_bytes - reply_overhead), 2);
  return std::move(writer).finish();
}

Result<HookMessage> decode_hook_message(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > HookMessage::max_bytes) return malformed("too long");
  Reader reader(bytes);
  if (reader.number(1) != HookMessage::version) return malformed("unknown version");
  HookMessage message;
  const std::uint64_t operation = reader.number(1);
  if (operation < operation_names.size()) message.operation = static_cast<HookOperation>(operation);
  const std::uint64_t flags = reader.number(1);
  message.wants_answer = (flags & wants_answer_flag) != 0;
  const std::uint64_t moment = reader.number(8);
  const std::uint64_t run = reader.number(4);
  message.uuid = reader.text(2);
  message.name = reader.text(2);
  message.element = reader.text(4);
  if (!reader.complete()) return malformed("a length is wrong");
  if (moment > std::numeric_limits<std::int64_t>::max()) return malformed("no moment");
  message.moment = std::chrono::nanoseconds(static_cast<std::int64_t>(moment));
  if (run > std::numeric_limits<int>::max()) return malformed("no number of a run");
  if ((flags & has_run_flag) != 0) message.run = static_cast<int>(run);
  if (!is_uuid(message.uuid)) return malformed("not a UUID");
  if (message.name.size() > HookMessage::max_name_bytes) return malformed("name too long");
  if (message.element.size() > HookMessage::max_element_bytes) return malformed("element too long");
  return message;
}

Result<HookReply> decode_hook_reply(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > HookReply::max_bytes) return malformed("reply too long");
  Reader reader(bytes);
  if (reader.number(1) != HookMessage::version) return malformed("reply of an unknown version");
  const std::uint64_t accepted = reader.number(1);
  HookReply reply{accepted == 1, reader.text(2)};
  if (!reader.complete() || accepted > 1) return malformed("malformed reply");
  return reply;
}

}  // namespace vf
