// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The window: which page it shows, the list, toasts. What it shows and does is Panel's.

#pragma once

#include <adwaita.h>

#include <string>
#include <utility>
#include <vector>

namespace vf::panel {

#define VF_TYPE_WINDOW (vf_window_get_type())
G_DECLARE_FINAL_TYPE(VfWindow, vf_window, VF, WINDOW, AdwApplicationWindow)

VfWindow* vf_window_new(AdwApplication* application);

// The model is of VfRowItem.
void vf_window_set_model(VfWindow* window, GListModel* model);
// Pages of window.ui. `text` is the description of those that have one of their own.
void vf_window_show_page(VfWindow* window, const char* page, const std::string& text = {});
void vf_window_set_subtitle(VfWindow* window, const std::string& subtitle);
// Above the list; empty: none.
void vf_window_set_notice(VfWindow* window, const std::string& notice);
// Of the page "absent": a title and a command each.
void vf_window_set_commands(VfWindow* window,
                            const std::vector<std::pair<std::string, std::string>>& commands);
void vf_window_toast(VfWindow* window, const std::string& text);
// An error that says more than a toast can.
void vf_window_fail(VfWindow* window, const std::string& heading, const std::string& body);
// The item of the selected row, or null.
gpointer vf_window_selected(VfWindow* window);
// What in the list has the keyboard, or null.
GtkWidget* vf_window_list_focus(VfWindow* window);
// `focus`: the keyboard goes there as well.
void vf_window_select(VfWindow* window, guint position, bool focus);
std::string vf_window_search_text(VfWindow* window);
// Emits "search-changed" when search_text() is another one.

}  // namespace vf::panel
