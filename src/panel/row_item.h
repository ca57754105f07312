// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A Row as an item of a GListModel. Its signal "changed" tells that the row says something else.

#pragma once

#include <glib-object.h>

#include "panel/rows.h"

namespace vf::panel {

#define VF_TYPE_ROW_ITEM (vf_row_item_get_type())
G_DECLARE_FINAL_TYPE(VfRowItem, vf_row_item, VF, ROW_ITEM, GObject)

VfRowItem* vf_row_item_new(Row row);
const Row& vf_row_item_row(VfRowItem* item);
// Same key. Nothing is told where nothing is different.
void vf_row_item_set(VfRowItem* item, const Row& row);

}  // namespace vf::panel
