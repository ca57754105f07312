// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/port_hints.h"

#include <gio/gio.h>

#include <charconv>
#include <utility>

#include "glib/ref.h"

namespace vf {
namespace {

constexpr gsize largest_file = 16 << 20;

constexpr std::string_view udp_mark = "/udp";

// "RUN REQUESTED PORT KEY": REQUESTED is "any" or a port, PORT one of TCP or, as "53/udp", of UDP;
// the key is last, for it may hold spaces.
std::optional<std::pair<std::string, PortHint>> parse_line(std::string_view line) {
  const auto word = [&line] {
    const std::size_t space = line.find(' ');
    const std::string_view first = line.substr(0, space);
    line = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
    return first;
  };
  const std::string_view run_text = word();
  const std::string_view requested_text = word();
  std::string_view port_text = word();
  const Protocol protocol = port_text.ends_with(udp_mark) ? Protocol::udp : Protocol::tcp;
  if (protocol == Protocol::udp) port_text.remove_suffix(udp_mark.size());
  const auto port = Port::parse(port_text);
  int run = 0;
  const auto [end, error] =
      std::from_chars(run_text.data(), run_text.data() + run_text.size(), run);
  if (error != std::errc() || !port || line.empty()) return std::nullopt;
  return std::pair(std::string(line), PortHint{run, Port::parse(requested_text), *port, protocol});
}

}  // namespace

PortHints::PortHints(std::string path) : path_(std::move(path)) {
  gchar* content = nullptr;
  gsize length = 0;
  if (!g_file_get_contents(path_.c_str(), &content, &length, nullptr)) return;
  const GCharPtr owned(content);
  std::string_view text(content, std::min(length, largest_file));
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    if (auto line = parse_line(text.substr(0, newline))) hints_.insert(std::move(*line));
    text = newline == std::string_view::npos ? std::string_view() : text.substr(newline + 1);
  }
}

PortHints::~PortHints() {
  if (dirty_) write();
}

std::optional<PortHint> PortHints::find(const std::string& key, std::optional<int> run) const {
  const auto found = hints_.find(key);
  if (found == hints_.end() || found->second.run != run) return std::nullopt;
  return found->second;
}

void PortHints::remember(const std::string& key, const PortHint& hint) {
  const auto [entry, fresh] = hints_.try_emplace(key, hint);
  if (!fresh && entry->second == hint) return;
  entry->second = hint;
  changed();
}

void PortHints::forget(const std::string& prefix) {
  forget_unless([&](const std::string& key) { return !key.starts_with(prefix); });
}

void PortHints::forget_unless(const std::function<bool(const std::string& key)>& wanted) {
  if (std::erase_if(hints_, [&](const auto& hint) { return !wanted(hint.first); }) != 0) changed();
}

void PortHints::changed() {
  dirty_ = true;
  if (!pending_write_) pending_write_ = on_idle([this] { write(); });
}

void PortHints::write() {
  pending_write_.reset();
  std::string text;
  for (const auto& [key, hint] : hints_) {
    const std::string requested = hint.requested ? std::to_string(hint.requested->number()) : "any";
    const std::string_view mark = hint.protocol == Protocol::udp ? udp_mark : std::string_view();
    text += std::to_string(hint.run) + ' ' + requested + ' ' + std::to_string(hint.port.number());
    text.append(mark).append(" ").append(key).append("\n");
  }
  // A hint that cannot be written is lost, as the design allows; the next change tries again.
  dirty_ = !g_file_set_contents_full(path_.c_str(), text.data(), static_cast<gssize>(text.size()),
                                     G_FILE_SET_CONTENTS_CONSISTENT, 0600, nullptr);
}

}  // namespace vf
