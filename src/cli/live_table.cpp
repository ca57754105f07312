// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/live_table.h"

#include <glib.h>

#include <algorithm>

#include "base/printable.h"
#include "cli/shown.h"
#include "cli/table.h"

namespace vf {
namespace {

enum Column : std::size_t { domain, name, url, guest, transport, state, connections, in, out };

constexpr std::size_t gap = 2;
constexpr std::size_t narrowest_url = 12;
constexpr std::array<const char*, 9> heads{"DOMAIN", "NAME", "URL", "GUEST", "WAY",
                                           "STATE",  "CONN", "IN",  "OUT"};
// A long name is cut, and does not push the state off the screen.
constexpr std::array<std::size_t, 9> widest{24, 24, 48, 24, 16, 24, 5, 5, 5};
// In this order columns go where there is no room.
constexpr std::array<std::size_t, 7> first_to_go{out,   in,   connections, transport,
                                                 guest, name, domain};

Style style_of(const ForwardView& forward) {
  const std::string_view color = state_color(forward);
  if (color == "32") return Style::green;
  if (color == "33") return Style::yellow;
  if (color == "31") return Style::red;
  return Style::dim;
}

std::string of(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + ' ' + (count == 1 ? one : many);
}

}  // namespace

std::string short_number(std::uint64_t number) {
  if (number < 10'000) return std::to_string(number);
  double value = static_cast<double>(number);
  std::size_t unit = 0;
  constexpr std::string_view units = " kMGTPE";
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  char text[16];
  g_snprintf(text, sizeof text, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
  return text;
}

std::string cut_to(const std::string& text, std::size_t width) {
  if (display_width(text) <= width) return text;
  if (width == 0) return {};
  std::string cut;
  std::size_t taken = 0;
  for (const char* at = text.c_str(); *at; at = g_utf8_next_char(at)) {
    const std::string character(at, static_cast<const char*>(g_utf8_next_char(at)));
    const std::size_t columns = display_width(character);
    if (taken + columns > width - 1) break;
    cut += character;
    taken += columns;
  }
  return cut + "…";
}

void LiveTable::set(const std::string& path, const std::string& domain_name,
                    const ForwardView& forward) {
  remove(path);
  Row row;
  row.cells = {printable(domain_name),
               printable(name_words(forward)),
               printable(host_side(forward)),
               printable(guest_side(forward)),
               way(forward),
               state_words(forward, false)};
  row.state = style_of(forward);
  row.reason = printable(reason_words(forward), 4096);
  row.active = forward.state == ForwardState::active;
  Order order{domain_name, forward.host_port ? forward.host_port : forward.requested_port,
              forward.guest_port, path};
  widen(row.cells);
  rows_.emplace(order, std::move(row));
  orders_.emplace(path, std::move(order));
}

void LiveTable::remove(const std::string& path) {
  const auto found = orders_.find(path);
  if (found == orders_.end()) return;
  rows_.erase(found->second);
  orders_.erase(found);
}

void LiveTable::set_counters(std::map<std::string, ForwardCounters> counters) {
  counters_ = std::move(counters);
}

void LiveTable::set_ports(std::size_t not_forwarded, std::size_t asking) {
  not_forwarded_ = not_forwarded;
  asking_ = asking;
}

void LiveTable::fit() {
  widths_ = {};
  for (const auto& [order, row] : rows_)
    widen(row.cells);
}

void LiveTable::scroll(long lines) {
  top_ = std::max(0L, top_ + lines);
}

void LiveTable::widen(const Cells& cells) {
  for (std::size_t i = 0; i < columns; ++i)
    widths_[i] =
        i >= connections
            ? widest[i]
            : std::min(std::max({widths_[i], display_width(cells[i]), display_width(heads[i])}),
                       widest[i]);
}

std::string LiveTable::summary() const {
  const auto active = static_cast<std::size_t>(
      std::count_if(rows_.begin(), rows_.end(), [](const auto& row) { return row.second.active; }));
  std::uint64_t open = 0;
  for (const auto& [path, counters] : counters_)
    if (orders_.contains(path)) open += counters.connections;
  std::string text = of(rows_.size(), "forward", "forwards") + ", " + std::to_string(active) +
                     " active, " + of(open, "connection", "connections");
  if (not_forwarded_ > 0) text += ", " + of(not_forwarded_, "port", "ports") + " not forwarded";
  if (asking_ > 0) text += " (" + of(asking_, "asks", "ask") + ')';
  return text;
}

std::vector<LiveTable::Fitted> LiveTable::columns_for(std::size_t width) const {
  std::vector<Fitted> shown;
  for (std::size_t column = 0; column < columns; ++column)
    shown.push_back({column, widths_[column]});
  const auto needed = [&] {
    std::size_t sum = gap * (shown.size() - 1);
    for (const Fitted& one : shown)
      sum += one.width;
    return sum;
  };
  for (const std::size_t column : first_to_go) {
    if (needed() <= width) return shown;
    std::erase_if(shown, [&](const Fitted& one) { return one.column == column; });
  }
  if (needed() <= width) return shown;
  // The URL and the state are left: the former is cut first, but not to nothing.
  const std::size_t for_state = std::min(width, widths_[state] + gap);
  const std::size_t for_url = std::max(width - for_state, std::min(width, narrowest_url));
  shown = {{url, for_url}};
  if (width > for_url + gap) shown.push_back({state, width - for_url - gap});
  return shown;
}

ScreenLine LiveTable::line_of(const Cells& cells, const std::vector<Fitted>& shown, Style style,
                              Style state_style) {
  ScreenLine line;
  for (const auto& [column, width] : shown) {
    std::string text = cut_to(cells[column], width);
    const std::size_t space = width - display_width(text);
    const bool last = column == shown.back().column;
    text.insert(column >= connections ? 0 : text.size(), column < connections && last ? 0 : space,
                ' ');
    if (!last) text.append(gap, ' ');
    line.push_back({std::move(text), column == state ? state_style : style});
  }
  return line;
}

std::vector<ScreenLine> LiveTable::show(std::size_t width, std::size_t height) {
  std::vector<ScreenLine> lines;
  Cells head;
  std::copy(heads.begin(), heads.end(), head.begin());
  widen(head);

  // Every line of the body, as a row or as the reason below one.
  struct Line {
    const std::string* path;
    const Row* row;
    bool reason;
  };
  std::vector<Line> body;
  for (const auto& [order, row] : rows_) {
    body.push_back({&std::get<3>(order), &row, false});
    if (!row.reason.empty()) body.push_back({nullptr, &row, true});
  }
  const std::size_t frame = 2;
  const std::size_t room = height > frame ? height - frame : 0;
  const std::size_t hidden = body.size() > room ? body.size() - room : 0;
  top_ = std::min(top_, static_cast<long>(hidden));

  std::string first = summary();
  if (hidden > 0)
    first += "; lines " + std::to_string(top_ + 1) + "-" +
             std::to_string(static_cast<std::size_t>(top_) + room) + " of " +
             std::to_string(body.size());
  if (height > 0) lines.push_back({{cut_to(first, width), Style::plain}});
  const std::vector<Fitted> shown = columns_for(width);
  if (height > 1) lines.push_back(line_of(head, shown, Style::bold, Style::bold));
  if (body.empty() && room > 0)
    lines.push_back({{cut_to("no forwards; make one with: virt-forward add DOMAIN 8080:80", width),
                      Style::dim}});
  for (std::size_t i = static_cast<std::size_t>(top_); i < body.size() && lines.size() < height;
       ++i) {
    const Line& one = body[i];
    if (one.reason) {
      lines.push_back({{cut_to("    " + one.row->reason, width), Style::dim}});
      continue;
    }
    Cells cells = one.row->cells;
    const auto counted = counters_.find(*one.path);
    if (counted != counters_.end()) {
      cells[connections] = short_number(counted->second.connections);
      if (counted->second.bytes_in) cells[in] = short_number(*counted->second.bytes_in);
      if (counted->second.bytes_out) cells[out] = short_number(*counted->second.bytes_out);
    }
    lines.push_back(line_of(cells, shown, Style::plain, one.row->state));
  }
  return lines;
}

}  // namespace vf
