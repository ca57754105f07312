// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Asks for a forward, says at once what is wrong with it, and which port of the host it would get.

#pragma once

#include <optional>

#include "panel/panel.h"

namespace vf::panel {

// `row`: the machine that is chosen first; null: the first there is.
void show_add_dialog(Panel& panel, const Row* row, std::optional<Port> guest_port,
                     Protocol protocol);
// `row` is of a forward of the metadata.
void show_edit_dialog(Panel& panel, const Row& row);

}  // namespace vf::panel
