// SPDX-License-Identifier: LGPL-2.1-or-later

#include "glib/object_path.h"

#include <algorithm>

namespace vf {
namespace {

constexpr std::size_t uuid_length = 36;
constexpr char hex_digits[] = "0123456789abcdef";

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (is_plain(c)) {
      escaped += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    escaped += {'_', hex_digits[byte >> 4], hex_digits[byte & 15]};
  }
  return escaped;
}

std::optional<unsigned> hex_value(char c) {
  const auto* digit = std::find(hex_digits, hex_digits + 16, c);
  if (digit == hex_digits + 16) return std::nullopt;
  return static_cast<unsigned>(digit - hex_digits);
}

std::optional<std::string> unescape(std::string_view escaped) {
  std::string text;
  for (std::size_t at = 0; at < escaped.size(); ++at) {
    if (is_plain(escaped[at])) {
      text += escaped[at];
      continue;
    }
    if (escaped[at] != '_' || escaped.size() - at < 3) return std::nullopt;
    const auto high = hex_value(escaped[at + 1]);
    const auto low = hex_value(escaped[at + 2]);
    if (!high || !low) return std::nullopt;
    const char c = static_cast<char>(*high << 4 | *low);
    if (is_plain(c)) return std::nullopt;
    text += c;
    at += 2;
  }
  return text;
}

std::string uuid_label(std::string_view uuid) {
  std::string label(uuid);
  std::replace(label.begin(), label.end(), '-', '_');
  return label;
}

std::optional<std::string> uuid_from_label(std::string_view label) {
  if (label.size() != uuid_length) return std::nullopt;
  std::string uuid(label);
  for (std::size_t at = 0; at < uuid.size(); ++at) {
    const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
    if (dash ? uuid[at] != '_' : !hex_value(uuid[at])) return std::nullopt;
    if (dash) uuid[at] = '-';
  }
  return uuid;
}

// The label below `parent`, when `path` is a direct child of it.
std::optional<std::string_view> label_below(std::string_view parent, std::string_view path) {
  if (!path.starts_with(parent) || path.size() < parent.size() + 2) return std::nullopt;
  path.remove_prefix(parent.size());
  if (path.front() != '/' || path.find('/', 1) != std::string_view::npos) return std::nullopt;
  return path.substr(1);
}

}  // namespace

std::string domain_path(std::string_view uuid) {
  return std::string(domains_path) + '/' + uuid_label(uuid);
}

std::string forward_path(std::string_view uuid, std::string_view id) {
  return std::string(forwards_path) + '/' + uuid_label(uuid) + '_' + escape(id);
}

std::string port_path(std::string_view uuid, std::string_view id) {
  return std::string(ports_path) + '/' + uuid_label(uuid) + '_' + escape(id);
}

std::optional<ObjectName> parse_object_path(std::string_view path) {
  if (const auto label = label_below(domains_path, path)) {
    auto uuid = uuid_from_label(*label);
    if (!uuid) return std::nullopt;
    return ObjectName{*std::move(uuid), {}};
  }
  for (const bool port : {false, true}) {
    const auto label = label_below(port ? ports_path : forwards_path, path);
    if (!label) continue;
    if (label->size() < uuid_length + 2 || (*label)[uuid_length] != '_') return std::nullopt;
    auto uuid = uuid_from_label(label->substr(0, uuid_length));
    auto id = unescape(label->substr(uuid_length + 1));
    if (!uuid || !id) return std::nullopt;
    return ObjectName{*std::move(uuid), *std::move(id), port};
  }
  return std::nullopt;
}

}  // namespace vf
