// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A table for a terminal: columns as wide as their text is shown, East Asian and combining
// characters counted as terminals show them.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vf {

// Columns that printable text takes.
std::size_t display_width(std::string_view text);

class Table {
 public:
  struct Cell {
    std::string text;             // made printable by the table
    const char* color = nullptr;  // SGR parameters
  };

  explicit Table(std::vector<std::string> head);
  void add(std::vector<Cell> row, std::string note = {});
  // `notes_below`: the note of a row stands on its own line below it, else as the last column.
  std::string render(bool color, bool notes_below) const;

 private:
  struct Row {
    std::vector<Cell> cells;
    std::string note;
  };
  std::vector<Row> rows_;  // the first is the head
};

}  // namespace vf
