// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The widgets of a row. Each shows an item that it is given, follows it until it is given another,
// and is used again and again by the list.

#pragma once

#include <gtk/gtk.h>

#include "panel/row_item.h"

namespace vf::panel {

#define VF_TYPE_FORWARD_ROW (vf_forward_row_get_type())
G_DECLARE_FINAL_TYPE(VfForwardRow, vf_forward_row, VF, FORWARD_ROW, GtkBox)
// Of a forward or of a port that is not forwarded.
void vf_forward_row_show(VfForwardRow* widget, const Row& row);

#define VF_TYPE_DOMAIN_ROW (vf_domain_row_get_type())
G_DECLARE_FINAL_TYPE(VfDomainRow, vf_domain_row, VF, DOMAIN_ROW, GtkBox)
void vf_domain_row_show(VfDomainRow* widget, const Row& row);

// A GtkListItemFactory for RowList's model.
GtkListItemFactory* row_factory();
// The widget of the list around the row at that place; null where it has none at present.
GtkWidget* row_holder(GtkListView* list, guint position);

}  // namespace vf::panel
