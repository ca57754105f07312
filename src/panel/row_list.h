// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The GListModel of the rows, brought up to date by what differs (row_edits.h): the items of rows
// that stay are the same, and so are their widgets, with focus, menus and the place in the window.

#pragma once

#include <gio/gio.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "glib/ref.h"
#include "panel/row_item.h"

namespace vf::panel {

class RowList {
 public:
  RowList();

  GListModel* model() const;
  // One that changes its place is the same item there, but the list makes new widgets for it.
  void update(std::vector<Row> rows);
  // The rows of that daemon's forwards have these counters now, by object path.
  void count(std::size_t source, const std::map<std::string, ForwardCounters>& counters);
  // Null where there is none.
  VfRowItem* find(std::string_view key) const;
  guint position(std::string_view key) const;  // G_MAXUINT where there is none
  std::vector<std::string_view> keys() const;  // until the next update()
  std::size_t size() const { return items_.size(); }

 private:
  Ref<GListStore> store_;
  std::vector<Ref<VfRowItem>> items_;  // the same as in the store
};

}  // namespace vf::panel
