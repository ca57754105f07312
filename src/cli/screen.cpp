// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/terminal.h"

// Behind all others: it defines macros of short names.
#define NCURSES_NOMACROS 1
#include <curses.h>

namespace vf {

struct Screen::State {
  SCREEN* screen = nullptr;
  bool color = false;
};

namespace {

enum Pair : short { green_pair = 1, yellow_pair, red_pair };

attr_t attributes_of(Style style, bool color) {
  const auto pair = [&](short number) {
    return color ? static_cast<attr_t>(COLOR_PAIR(number)) : attr_t{A_NORMAL};
  };
  switch (style) {
    case Style::bold:
      return A_BOLD;
    case Style::dim:
      return A_DIM;
    case Style::green:
      return pair(green_pair);
    case Style::yellow:
      return pair(yellow_pair);
    case Style::red:
      return pair(red_pair);
    case Style::plain:
      break;
  }
  return A_NORMAL;
}

}  // namespace

std::unique_ptr<Screen> Screen::open(bool color) {
  if (!terminal_places_a_cursor()) return nullptr;
  std::unique_ptr<Screen> screen(new Screen(color));
  if (!screen->state_->screen) return nullptr;
  return screen;
}

Screen::Screen(bool color) : state_(std::make_unique<State>()) {
  // The size is the terminal's, not what LINES and COLUMNS were when the shell began.
  use_env(FALSE);
  use_tioctl(TRUE);
  state_->screen = newterm(nullptr, stdout, stdin);
  if (!state_->screen) return;
  set_term(state_->screen);
  cbreak();
  noecho();
  nonl();
  curs_set(0);
  keypad(stdscr, TRUE);
  set_escdelay(25);
  nodelay(stdscr, TRUE);
  state_->color = color && has_colors();
  if (!state_->color) return;
  start_color();
  use_default_colors();
  init_pair(green_pair, COLOR_GREEN, -1);
  init_pair(yellow_pair, COLOR_YELLOW, -1);
  init_pair(red_pair, COLOR_RED, -1);
}

Screen::~Screen() {
  if (!state_->screen) return;
  endwin();
  delscreen(state_->screen);
}

void Screen::resized() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
    resizeterm(size.ws_row, size.ws_col);
  clearok(stdscr, TRUE);
}

std::size_t Screen::width() const {
  return static_cast<std::size_t>(std::max(getmaxx(stdscr), 0));
}

std::size_t Screen::height() const {
  return static_cast<std::size_t>(std::max(getmaxy(stdscr), 0));
}

void Screen::show(const std::vector<ScreenLine>& lines) {
  werase(stdscr);
  for (std::size_t row = 0; row < lines.size(); ++row) {
    wmove(stdscr, static_cast<int>(row), 0);
    for (const Span& span : lines[row]) {
      const attr_t attributes = attributes_of(span.style, state_->color);
      wattrset(stdscr, static_cast<int>(attributes));
      waddstr(stdscr, span.text.c_str());
    }
  }
  wattrset(stdscr, A_NORMAL);
  wrefresh(stdscr);
}

Screen::Key Screen::key() {
  switch (wgetch(stdscr)) {
    case ERR:
      return Key::none;
    case 'q':
    case 'Q':
      return Key::quit;
    case KEY_UP:
    case 'k':
      return Key::up;
    case KEY_DOWN:
    case 'j':
      return Key::down;
    case KEY_PPAGE:
      return Key::page_up;
    case KEY_NPAGE:
    case ' ':
      return Key::page_down;
    case KEY_HOME:
    case 'g':
      return Key::home;
    case KEY_END:
    case 'G':
      return Key::end;
    default:
      return Key::other;
  }
}

}  // namespace vf
