// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/table.h"

#include <glib.h>

#include <algorithm>

#include "base/printable.h"

namespace vf {
namespace {

constexpr std::size_t longest_cell = 4096;
constexpr std::string_view gap = "  ";

std::string colored(const std::string& text, const char* color) {
  return "\x1b[" + std::string(color) + 'm' + text + "\x1b[0m";
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const gunichar character = g_utf8_get_char_validated(at, end - at);
    if (character == static_cast<gunichar>(-1) || character == static_cast<gunichar>(-2)) {
      ++at;
      ++width;
      continue;
    }
    if (!g_unichar_iszerowidth(character)) width += g_unichar_iswide(character) ? 2 : 1;
    at = g_utf8_next_char(at);
  }
  return width;
}

Table::Table(std::vector<std::string> head) {
  Row row;
  for (std::string& name : head)
    row.cells.push_back({std::move(name), "1"});
  rows_.push_back(std::move(row));
}

void Table::add(std::vector<Cell> cells, std::string note) {
  for (Cell& cell : cells)
    cell.text = printable(cell.text, longest_cell);
  rows_.push_back({std::move(cells), printable(note, longest_cell)});
}

std::string Table::render(bool color, bool notes_below) const {
  std::vector<std::size_t> widths(rows_.front().cells.size());
  for (const Row& row : rows_)
    for (std::size_t i = 0; i < row.cells.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row.cells[i].text));

  std::string text;
  for (const Row& row : rows_) {
    const bool note_beside = !notes_below && !row.note.empty();
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const Cell& cell = row.cells[i];
      if (i > 0) text += gap;
      text += color && cell.color ? colored(cell.text, cell.color) : cell.text;
      if (i + 1 < row.cells.size() || note_beside)
        text.append(widths[i] - display_width(cell.text), ' ');
    }
    if (note_beside) text += std::string(gap) + row.note;
    text += '\n';
    if (notes_below && !row.note.empty())
      text += "    " + (color ? colored(row.note, "2") : row.note) + '\n';
  }
  return text;
}

}  // namespace vf
