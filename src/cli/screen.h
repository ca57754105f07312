// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The whole of a terminal, by ncurses: what changed is written, and the terminal is as it was when
// this is gone. One at a time.

#pragma once

#include <memory>

#include "cli/live_table.h"

namespace vf {

class Screen {
 public:
  // On standard output, with the keys of standard input where that is a terminal. Null where the
  // terminal cannot place a cursor, or nobody knows it. Signals that are handled at this time stay
  // so; SIGTSTP is taken care of.
  static std::unique_ptr<Screen> open(bool color);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // After SIGWINCH.
  void resized();
  std::size_t width() const;
  std::size_t height() const;
  // Each line from the left; what is not covered is blank.
  void show(const std::vector<ScreenLine>& lines);

  enum class Key { none, other, up, down, page_up, page_down, home, end, quit };
  // The next one that was pressed; `none` when there is no more.
  Key key();

 private:
  explicit Screen(bool color);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vf
