// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The actions "win.…" of a window. Each has the key of a row as its target; an empty one is the
// selected row.

#pragma once

#include "panel/panel.h"

namespace vf::panel {

// `panel` outlives the window's actions.
void add_actions(Panel& panel);
// The keys that they are reached with from everywhere; those of a row are in window.ui.
void add_accelerators(GtkApplication* application);

}  // namespace vf::panel
