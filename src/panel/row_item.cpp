// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/row_item.h"

#include <utility>

namespace vf::panel {

struct _VfRowItem {
  GObject parent;
  Row* row;
};

G_DEFINE_FINAL_TYPE(VfRowItem, vf_row_item, G_TYPE_OBJECT)

namespace {

guint changed_signal;

void finalize(GObject* object) {
  delete VF_ROW_ITEM(object)->row;
  G_OBJECT_CLASS(vf_row_item_parent_class)->finalize(object);
}

}  // namespace

static void vf_row_item_class_init(VfRowItemClass* type) {
  G_OBJECT_CLASS(type)->finalize = finalize;
  changed_signal = g_signal_new("changed", VF_TYPE_ROW_ITEM, G_SIGNAL_RUN_LAST, 0, nullptr, nullptr,
                                nullptr, G_TYPE_NONE, 0);
}

static void vf_row_item_init(VfRowItem*) {}

VfRowItem* vf_row_item_new(Row row) {
  auto* item = VF_ROW_ITEM(g_object_new(VF_TYPE_ROW_ITEM, nullptr));
  item->row = new Row(std::move(row));
  return item;
}

const Row& vf_row_item_row(VfRowItem* item) {
  return *item->row;
}

void vf_row_item_set(VfRowItem* item, const Row& row) {
  if (*item->row == row) return;
  *item->row = row;
  g_signal_emit(item, changed_signal, 0);
}

}  // namespace vf::panel
