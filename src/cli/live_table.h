// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The table of `watch`, laid out for a screen of any size; no terminal in here.
//
// A column never gets narrower while its text changes, so that nothing jumps; fit() begins anew.
// Where a row is wider than the screen, columns go: first the counters, then the way and so on down
// to the URL and the state, which are cut.

#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/forward_view.h"

namespace vf {

enum class Style { plain, bold, dim, green, yellow, red };

struct Span {
  std::string text;  // printable
  Style style = Style::plain;
};
using ScreenLine = std::vector<Span>;

class LiveTable {
 public:
  // Of the forward at `path`, which is unique. `domain` is its domain as the table shall name it.
  void set(const std::string& path, const std::string& domain, const ForwardView& forward);
  void remove(const std::string& path);
  // Of all forwards; those that are not in it are not counted.
  void set_counters(std::map<std::string, ForwardCounters> counters);
  // Ports that guests have open and that are not forwarded; how many of these a rule asks about.
  void set_ports(std::size_t not_forwarded, std::size_t asking);

  // Forgets how wide columns have been.
  void fit();
  // By lines; stays within what there is when it is next shown.
  void scroll(long lines);

  // What a screen of that size shows, at most `height` lines of at most `width` columns.
  std::vector<ScreenLine> show(std::size_t width, std::size_t height);

 private:
  static constexpr std::size_t columns = 9;
  using Cells = std::array<std::string, columns>;
  struct Row {
    Cells cells;  // the counters are filled in when it is shown
    Style state = Style::plain;
    std::string reason;
    bool active = false;
  };
  // Domain, host port, guest port, path.
  using Order = std::tuple<std::string, std::optional<Port>, std::optional<Port>, std::string>;

  std::string summary() const;
  struct Fitted {
    std::size_t column;
    std::size_t width;
  };
  std::vector<Fitted> columns_for(std::size_t width) const;
  static ScreenLine line_of(const Cells& cells, const std::vector<Fitted>& shown, Style style,
                            Style state_style);
  void widen(const Cells& cells);

  std::map<Order, Row> rows_;
  std::map<std::string, Order> orders_;  // by path
  std::map<std::string, ForwardCounters> counters_;
  std::array<std::size_t, columns> widths_{};
  std::size_t not_forwarded_ = 0;
  std::size_t asking_ = 0;
  long top_ = 0;
};

// 0 to 9999, then "12k", "3.4M": at most five columns.
std::string short_number(std::uint64_t number);

// At most `width` columns of it, with a … at the end of what is longer.
std::string cut_to(const std::string& text, std::size_t width);

}  // namespace vf
