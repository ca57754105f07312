// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/window.h"

#include <glib/gi18n.h>

#include "panel/row_widgets.h"
#include "panel/template.h"

namespace vf::panel {

struct _VfWindow {
  AdwApplicationWindow parent;
  AdwToastOverlay* toasts;
  AdwWindowTitle* title;
  GtkToggleButton* search;
  GtkSearchBar* search_bar;
  GtkSearchEntry* search_entry;
  GtkRevealer* notice_revealer;
  GtkLabel* notice;
  GtkStack* stack;
  GtkListView* list;
  AdwStatusPage* empty;
  AdwStatusPage* refused;
  AdwStatusPage* failing;
  GtkListBox* commands;
  GtkSingleSelection* selection;  // the list's
};

G_DEFINE_FINAL_TYPE(VfWindow, vf_window, ADW_TYPE_APPLICATION_WINDOW)

namespace {

void copy_command(GtkButton* button, VfWindow* window) {
  const auto* command = static_cast<const char*>(g_object_get_data(G_OBJECT(button), "command"));
  gdk_clipboard_set_text(gtk_widget_get_clipboard(GTK_WIDGET(window)), command);
  vf_window_toast(window, _("Command copied"));
}

void search_changed(GtkSearchEntry*, VfWindow* window) {
  g_signal_emit_by_name(window, "search-changed");
}

// The bar shows its entry with its next frame only, and until then what is typed would be lost:
// text gets to an entry that has the keyboard and is realized.
void search_mode_changed(GtkSearchBar* bar, GParamSpec*, VfWindow* window) {
  if (!gtk_search_bar_get_search_mode(bar)) return;
  gtk_widget_realize(GTK_WIDGET(gtk_editable_get_delegate(GTK_EDITABLE(window->search_entry))));
  gtk_widget_grab_focus(GTK_WIDGET(window->search_entry));
}

// Enter on a row does what a click on its first button does.
void activated(GtkListView*, guint, VfWindow* window) {
  gtk_widget_activate_action(GTK_WIDGET(window), "win.copy", "s", "");
}

AdwStatusPage* page_with_text(VfWindow* window, std::string_view page) {
  return page == "empty"     ? window->empty
         : page == "refused" ? window->refused
         : page == "failing" ? window->failing
                             : nullptr;
}

}  // namespace

VfWindow* vf_window_new(AdwApplication* application) {
  return VF_WINDOW(g_object_new(VF_TYPE_WINDOW, "application", application, nullptr));
}

void vf_window_set_model(VfWindow* window, GListModel* model) {
  window->selection = gtk_single_selection_new(G_LIST_MODEL(g_object_ref(model)));
  gtk_single_selection_set_autoselect(window->selection, FALSE);
  gtk_single_selection_set_can_unselect(window->selection, TRUE);
  GtkListItemFactory* factory = row_factory();
  gtk_list_view_set_factory(window->list, factory);
  g_object_unref(factory);
  gtk_list_view_set_model(window->list, GTK_SELECTION_MODEL(window->selection));
  g_object_unref(window->selection);  // the list holds it
}

void vf_window_show_page(VfWindow* window, const char* page, const std::string& text) {
  if (AdwStatusPage* status = page_with_text(window, page); status && !text.empty())
    adw_status_page_set_description(status, text.c_str());
  // The pages that are not shown are hidden from a screen reader too.
  GtkWidget* shown = gtk_stack_get_child_by_name(window->stack, page);
  gtk_widget_set_visible(shown, TRUE);
  gtk_stack_set_visible_child(window->stack, shown);
  for (GtkWidget* child = gtk_widget_get_first_child(GTK_WIDGET(window->stack)); child;
       child = gtk_widget_get_next_sibling(child))
    gtk_widget_set_visible(child, child == shown);
}

void vf_window_set_subtitle(VfWindow* window, const std::string& subtitle) {
  adw_window_title_set_subtitle(window->title, subtitle.c_str());
}

void vf_window_set_notice(VfWindow* window, const std::string& notice) {
  if (!notice.empty()) gtk_label_set_text(window->notice, notice.c_str());
  gtk_widget_set_visible(GTK_WIDGET(window->notice), !notice.empty());
  gtk_revealer_set_reveal_child(window->notice_revealer, !notice.empty());
}

void vf_window_set_commands(VfWindow* window,
                            const std::vector<std::pair<std::string, std::string>>& commands) {
  while (GtkWidget* row = gtk_widget_get_first_child(GTK_WIDGET(window->commands)))
    gtk_list_box_remove(window->commands, row);
  for (const auto& [title, command] : commands) {
    GtkWidget* row = adw_action_row_new();
    adw_preferences_row_set_use_markup(ADW_PREFERENCES_ROW(row), FALSE);
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(row), title.c_str());
    adw_action_row_set_subtitle(ADW_ACTION_ROW(row), command.c_str());
    GtkWidget* copy = gtk_button_new_from_icon_name("edit-copy-symbolic");
    gtk_widget_set_valign(copy, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class(copy, "flat");
    gtk_widget_set_tooltip_text(copy, _("Copy Command"));
    gtk_accessible_update_property(GTK_ACCESSIBLE(copy), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   _("Copy Command"), -1);
    g_object_set_data_full(G_OBJECT(copy), "command", g_strdup(command.c_str()), g_free);
    g_signal_connect(copy, "clicked", G_CALLBACK(copy_command), window);
    adw_action_row_add_suffix(ADW_ACTION_ROW(row), copy);
    gtk_list_box_append(window->commands, row);
  }
}

void vf_window_toast(VfWindow* window, const std::string& text) {
  AdwToast* toast = adw_toast_new("");
  // A title is markup.
  gchar* escaped = g_markup_escape_text(text.c_str(), -1);
  adw_toast_set_title(toast, escaped);
  g_free(escaped);
  // What is said of the last thing done is not to wait until all earlier words were shown.
  if (gpointer last = g_object_get_data(G_OBJECT(window), "toast"))
    adw_toast_dismiss(ADW_TOAST(last));
  g_object_set_data_full(G_OBJECT(window), "toast", g_object_ref(toast), g_object_unref);
  adw_toast_overlay_add_toast(window->toasts, toast);
}

void vf_window_fail(VfWindow* window, const std::string& heading, const std::string& body) {
  GtkWidget* dialog = adw_message_dialog_new(GTK_WINDOW(window), heading.c_str(), body.c_str());
  adw_message_dialog_add_response(ADW_MESSAGE_DIALOG(dialog), "close", _("_Close"));
  gtk_window_present(GTK_WINDOW(dialog));
}

gpointer vf_window_selected(VfWindow* window) {
  return gtk_single_selection_get_selected_item(window->selection);
}

GtkWidget* vf_window_list_focus(VfWindow* window) {
  GtkWidget* focus = gtk_window_get_focus(GTK_WINDOW(window));
  return focus && gtk_widget_is_ancestor(focus, GTK_WIDGET(window->list)) ? focus : nullptr;
}

void vf_window_select(VfWindow* window, guint position, bool focus) {
  gtk_single_selection_set_selected(window->selection, position);
  if (GtkWidget* row = focus ? row_holder(window->list, position) : nullptr)
    gtk_widget_grab_focus(row);
}

std::string vf_window_search_text(VfWindow* window) {
  if (!gtk_toggle_button_get_active(window->search)) return {};
  return gtk_editable_get_text(GTK_EDITABLE(window->search_entry));
}

static void vf_window_class_init(VfWindowClass* type) {
  g_signal_new("search-changed", VF_TYPE_WINDOW, G_SIGNAL_RUN_LAST, 0, nullptr, nullptr, nullptr,
               G_TYPE_NONE, 0);
  set_template(type, "window",
               {{"toasts", G_STRUCT_OFFSET(VfWindow, toasts)},
                {"title", G_STRUCT_OFFSET(VfWindow, title)},
                {"search", G_STRUCT_OFFSET(VfWindow, search)},
                {"search_bar", G_STRUCT_OFFSET(VfWindow, search_bar)},
                {"search_entry", G_STRUCT_OFFSET(VfWindow, search_entry)},
                {"notice_revealer", G_STRUCT_OFFSET(VfWindow, notice_revealer)},
                {"notice", G_STRUCT_OFFSET(VfWindow, notice)},
                {"stack", G_STRUCT_OFFSET(VfWindow, stack)},
                {"list", G_STRUCT_OFFSET(VfWindow, list)},
                {"empty", G_STRUCT_OFFSET(VfWindow, empty)},
                {"refused", G_STRUCT_OFFSET(VfWindow, refused)},
                {"failing", G_STRUCT_OFFSET(VfWindow, failing)},
                {"commands", G_STRUCT_OFFSET(VfWindow, commands)}});
}

static void vf_window_init(VfWindow* window) {
  gtk_widget_init_template(GTK_WIDGET(window));
  gtk_search_bar_connect_entry(window->search_bar, GTK_EDITABLE(window->search_entry));
  g_signal_connect(window->search_bar, "notify::search-mode-enabled",
                   G_CALLBACK(search_mode_changed), window);
  g_signal_connect(window->search_entry, "search-changed", G_CALLBACK(search_changed), window);
  g_signal_connect_swapped(
      window->search, "toggled",
      G_CALLBACK(+[](VfWindow* self) { g_signal_emit_by_name(self, "search-changed"); }), window);
  g_signal_connect(window->list, "activate", G_CALLBACK(activated), window);
  GPropertyAction* search = g_property_action_new("search", window->search, "active");
  g_action_map_add_action(G_ACTION_MAP(window), G_ACTION(search));
  g_object_unref(search);
}

}  // namespace vf::panel
