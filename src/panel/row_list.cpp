// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/row_list.h"

#include <unordered_map>
#include <utility>

namespace vf::panel {

RowList::RowList() : store_(adopt(g_list_store_new(VF_TYPE_ROW_ITEM))) {}

GListModel* RowList::model() const {
  return G_LIST_MODEL(store_.get());
}

// Both lists are walked at once. What stands in the same order in both stays; where two changed
// their places, the nearer end of the knot decides which of them is taken out and put in anew.
void RowList::update(std::vector<Row> rows) {
  std::unordered_map<std::string, std::size_t> old_keys;  // those that are still to be passed
  for (std::size_t i = 0; i < items_.size(); ++i)
    old_keys.emplace(vf_row_item_row(items_[i].get()).key, i);
  std::unordered_map<std::string, std::size_t> new_keys;
  for (std::size_t i = 0; i < rows.size(); ++i)
    new_keys.emplace(rows[i].key, i);

  std::vector<Ref<VfRowItem>> items;
  items.reserve(rows.size());
  std::size_t before = 0;
  std::size_t now = 0;
  while (before < items_.size() || now < rows.size()) {
    std::vector<gpointer> added;
    const std::size_t first = items.size();
    guint removed = 0;
    while (before < items_.size() || now < rows.size()) {
      const std::string* old_key =
          before < items_.size() ? &vf_row_item_row(items_[before].get()).key : nullptr;
      const std::string* new_key = now < rows.size() ? &rows[now].key : nullptr;
      if (old_key && new_key && *old_key == *new_key) break;
      const auto next_old = new_key ? old_keys.find(*new_key) : old_keys.end();
      const auto next_new =
          old_key && old_keys.contains(*old_key) ? new_keys.find(*old_key) : new_keys.end();
      const bool insert =
          new_key &&
          (next_old == old_keys.end() ||
           (next_new != new_keys.end() && next_new->second - now < next_old->second - before));
      if (insert) {
        if (next_old != old_keys.end()) old_keys.erase(next_old);
        items.push_back(adopt(vf_row_item_new(std::move(rows[now]))));
        added.push_back(items.back().get());
        ++now;
      } else {
        old_keys.erase(*old_key);
        ++removed;
        ++before;
      }
    }
    if (removed > 0 || !added.empty())
      g_list_store_splice(store_.get(), static_cast<guint>(first), removed, added.data(),
                          static_cast<guint>(added.size()));
    for (; before < items_.size() && now < rows.size() &&
           vf_row_item_row(items_[before].get()).key == rows[now].key;
         ++before, ++now) {
      vf_row_item_set(items_[before].get(), rows[now]);
      items.push_back(items_[before]);
    }
  }
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

guint RowList::position(const std::string& key) const {
  for (std::size_t i = 0; i < items_.size(); ++i)
    if (vf_row_item_row(items_[i].get()).key == key) return static_cast<guint>(i);
  return G_MAXUINT;
}

VfRowItem* RowList::find(const std::string& key) const {
  const guint at = position(key);
  return at == G_MAXUINT ? nullptr : items_[at].get();
}

}  // namespace vf::panel
