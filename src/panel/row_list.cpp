// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/row_list.h"

#include <string_view>
#include <utility>

#include "panel/row_edits.h"

namespace vf::panel {

RowList::RowList() : store_(adopt(g_list_store_new(VF_TYPE_ROW_ITEM))) {}

GListModel* RowList::model() const {
  return G_LIST_MODEL(store_.get());
}

void RowList::update(std::vector<Row> rows) {
  const std::vector<std::string_view> before = keys();
  std::vector<std::string_view> now;
  for (const Row& row : rows)
    now.push_back(row.key);
  const std::vector<Splice> edits = splices(before, now);

  std::vector<Ref<VfRowItem>> items;
  items.reserve(rows.size());
  std::size_t place = 0;  // in the old list
  const auto stay = [&](std::size_t end) {
    while (items.size() < end) {
      vf_row_item_set(items_[place].get(), rows[items.size()]);
      items.push_back(items_[place++]);
    }
  };
  for (const Splice& edit : edits) {
    stay(edit.at);
    std::vector<gpointer> added;
    for (std::size_t i = 0; i < edit.added; ++i) {
      const Row& row = rows[items.size()];
      if (VfRowItem* moved = find(row.key)) {
        vf_row_item_set(moved, row);
        items.push_back(borrow(moved));
      } else {
        items.push_back(adopt(vf_row_item_new(row)));
      }
      added.push_back(items.back().get());
    }
    g_list_store_splice(store_.get(), static_cast<guint>(edit.at), static_cast<guint>(edit.removed),
                        added.data(), static_cast<guint>(edit.added));
    place += edit.removed;
  }
  stay(rows.size());
  items_ = std::move(items);
}

// Of a thousand forwards few have a connection that came or went: the others are not copied.
void RowList::count(std::size_t source, const std::map<std::string, ForwardCounters>& counters) {
  for (const auto& item : items_) {
    const Row& row = vf_row_item_row(item.get());
    const auto* forward = std::get_if<ForwardRow>(&row.content);
    if (!forward || row.source != source) continue;
    const auto found = counters.find(row.path);
    const auto now = found == counters.end() ? std::optional<ForwardCounters>() : found->second;
    if (forward->counters == now) continue;
    Row changed = row;
    std::get<ForwardRow>(changed.content).counters = now;
    vf_row_item_set(item.get(), changed);
  }
}

std::vector<std::string_view> RowList::keys() const {
  std::vector<std::string_view> keys;
  for (const auto& item : items_)
    keys.push_back(vf_row_item_row(item.get()).key);
  return keys;
}

guint RowList::position(std::string_view key) const {
  for (std::size_t i = 0; i < items_.size(); ++i)
    if (vf_row_item_row(items_[i].get()).key == key) return static_cast<guint>(i);
  return G_MAXUINT;
}

VfRowItem* RowList::find(std::string_view key) const {
  const guint at = position(key);
  return at == G_MAXUINT ? nullptr : items_[at].get();
}

}  // namespace vf::panel
