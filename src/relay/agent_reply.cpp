// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/agent_reply.h"

#include <json-glib/json-glib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

#include "glib/ref.h"

namespace vf {
namespace {

// No reply has more objects than this. The parser recurses, and would for as deep as it is told to.
constexpr std::ptrdiff_t max_brackets = 16;

std::optional<std::int64_t> integer(JsonNode* node) {
  if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64)
    return std::nullopt;
  return json_node_get_int(node);
}

// The reply's "return"; it lives as long as the parser. Null for any other text.
JsonNode* returned(JsonParser* parser, std::string_view text) {
  if (std::ranges::count_if(text, [](char c) { return c == '{' || c == '['; }) > max_brackets)
    return nullptr;
  if (!json_parser_load_from_data(parser, text.data(), static_cast<gssize>(text.size()), nullptr))
    return nullptr;
  JsonNode* const root = json_parser_get_root(parser);
  if (!root || !JSON_NODE_HOLDS_OBJECT(root)) return nullptr;
  return json_object_get_member(json_node_get_object(root), "return");
}

// 1000, or {"pid": 1000}.
std::optional<std::int64_t> number_of(JsonNode* node) {
  if (node && JSON_NODE_HOLDS_OBJECT(node))
    node = json_object_get_member(json_node_get_object(node), "pid");
  return integer(node);
}

struct Piece {
  std::string bytes;
  bool last = false;
};

// Of guest-file-read.
std::optional<Piece> piece_of(JsonNode* node) {
  if (!node || !JSON_NODE_HOLDS_OBJECT(node)) return std::nullopt;
  JsonObject* const object = json_node_get_object(node);
  const auto count = integer(json_object_get_member(object, "count"));
  JsonNode* const eof = json_object_get_member(object, "eof");
  JsonNode* const text = json_object_get_member(object, "buf-b64");
  if (!count || !eof || !text || json_node_get_value_type(eof) != G_TYPE_BOOLEAN ||
      json_node_get_value_type(text) != G_TYPE_STRING)
    return std::nullopt;
  gsize length = 0;
  const std::unique_ptr<guchar, GFree> bytes(g_base64_decode(json_node_get_string(text), &length));
  if (static_cast<std::uint64_t>(*count) != length) return std::nullopt;
  return Piece{std::string(reinterpret_cast<const char*>(bytes.get()), length),
               json_node_get_boolean(eof) != FALSE};
}

// --- a line of the table: "0: 0100007F:0CEA 00000000:0000 0A …"

template <typename T>
std::optional<T> parse(std::string_view text, int base) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<IpAddress> address_of(std::string_view hex) {
  std::array<std::uint8_t, 16> bytes{};
  if (hex.size() != 8 && hex.size() != 32) return std::nullopt;
  for (std::size_t at = 0; at < hex.size() / 2; at += 4) {
    const auto word = parse<std::uint32_t>(hex.substr(2 * at, 8), 16);
    if (!word) return std::nullopt;
    for (std::size_t i = 0; i < 4; ++i)
      bytes[at + i] = static_cast<std::uint8_t>(*word >> (8 * i));
  }
  return IpAddress::from_bytes(std::span(bytes).first(hex.size() / 2));
}

using Words = std::array<std::string_view, 8>;

// The first of them; fewer leave the others empty.
Words words_of(std::string_view line) {
  Words words;
  for (std::string_view& word : words) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
  }
  return words;
}

bool is_udp(RelayAgentStep file) {
  return file == RelayAgentStep::udp4 || file == RelayAgentStep::udp6;
}
bool is_v4(RelayAgentStep file) {
  return file == RelayAgentStep::tcp4 || file == RelayAgentStep::udp4;
}

}  // namespace

AgentReplyReader::Answer AgentReplyReader::read(RelayAgentStep step, std::string_view text,
                                                ListenerLedger& ledger) {
  if (step == RelayAgentStep::begin || step == RelayAgentStep::end) {
    begin_file(step);
    if (step == RelayAgentStep::begin)
      ledger.begin();
    else
      ledger.complete(0);
    return {true, 0};
  }
  const auto parser = adopt(json_parser_new());
  JsonNode* const node = returned(parser.get(), text);
  if (step == RelayAgentStep::number) {
    const auto number = number_of(node);
    return {number.has_value(), number.value_or(0)};
  }
  if (file_ != step) begin_file(step);
  auto piece = piece_of(node);
  if (!piece) return {};
  const std::size_t room = max_file_bytes - read_bytes_;
  if (piece->bytes.size() >= room) {
    piece->bytes.resize(room);
    piece->last = true;
  }
  read_bytes_ += piece->bytes.size();
  take(piece->bytes, ledger);
  if (piece->last) {
    take_line(line_, ledger);
    begin_file(RelayAgentStep::begin);
  }
  return {true, piece->last ? 1 : 0};
}

void AgentReplyReader::begin_file(RelayAgentStep step) {
  file_ = step;
  read_bytes_ = 0;
  line_.clear();
}

// A line that is too long is none, and its end is not taken for one.
void AgentReplyReader::take(std::string_view piece, ListenerLedger& ledger) {
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    line_ += part.substr(0, max_line_bytes + 1 - std::min(line_.size(), max_line_bytes + 1));
    if (end == std::string_view::npos) return;
    take_line(line_, ledger);
    line_.clear();
    piece.remove_prefix(end + 1);
  }
}

void AgentReplyReader::take_line(std::string_view line, ListenerLedger& ledger) const {
  if (line.size() > max_line_bytes) return;
  const auto [number, local, remote, state, queues, timer, retransmits, uid] = words_of(line);
  const bool udp = is_udp(file_);
  // TCP that listens; UDP that is not connected.
  if (state != (udp ? "07" : "0A")) return;
  const std::size_t colon = local.find(':');
  if (colon == std::string_view::npos || !remote.ends_with(":0000")) return;
  const auto address = address_of(local.substr(0, colon));
  const auto digits = parse<std::uint16_t>(local.substr(colon + 1), 16);
  const auto port = digits ? Port::from(*digits) : std::nullopt;
  if (!address || address->is_v4() != is_v4(file_) || !port) return;
  GuestListener listener;
  listener.key = {udp, *address, *port};
  listener.uid = parse<std::uint32_t>(uid, 10).value_or(0);
  ledger.listens(std::move(listener));
}

}  // namespace vf
