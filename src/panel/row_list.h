// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The GListModel of the rows, brought up to date by what differs: an item lives as long as its row
// is in the list at the same place among those that stay.

#pragma once

#include <gio/gio.h>

#include <map>
#include <string>
#include <vector>

#include "glib/ref.h"
#include "panel/row_item.h"

namespace vf::panel {

class RowList {
 public:
  RowList();

  GListModel* model() const;
  void update(std::vector<Row> rows);
  // The rows of that daemon's forwards have these counters now, by object path.
  void count(std::size_t source, const std::map<std::string, ForwardCounters>& counters);
  // Null where there is none.
  VfRowItem* find(const std::string& key) const;
  guint position(const std::string& key) const;  // G_MAXUINT where there is none
  std::size_t size() const { return items_.size(); }

 private:
  Ref<GListStore> store_;
  std::vector<Ref<VfRowItem>> items_;  // the same as in the store
};

}  // namespace vf::panel
