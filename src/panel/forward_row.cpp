// SPDX-License-Identifier: LGPL-2.1-or-later

#include <glib/gi18n.h>

#include <array>

#include "panel/row_widgets.h"
#include "panel/template.h"
#include "panel/words.h"

namespace vf::panel {

struct _VfForwardRow {
  GtkBox parent;
  GtkImage* state_icon;
  GtkLabel* title;
  GtkLabel* details;
  GtkLabel* trouble;
  GtkLabel* url;
  GtkLabel* traffic;
  GtkButton* allow;
  GtkButton* enable;
  GtkButton* copy;
  GtkButton* open;
  GtkMenuButton* more;
  char* key;  // of the row that is shown
};

G_DEFINE_FINAL_TYPE(VfForwardRow, vf_forward_row, GTK_TYPE_BOX)

namespace {

constexpr std::array state_styles{"success", "warning", "error", "dim-label"};

void set_style(gpointer widget, const char* style) {
  for (const char* one : state_styles)
    if (g_str_equal(one, style))
      gtk_widget_add_css_class(GTK_WIDGET(widget), one);
    else
      gtk_widget_remove_css_class(GTK_WIDGET(widget), one);
}

void set_text(GtkLabel* label, const std::string& text) {
  gtk_label_set_text(label, text.c_str());
  gtk_widget_set_visible(GTK_WIDGET(label), !text.empty());
}

// Not as actions of the buttons, which would be sensitive as the action is, for every row.
void allow(VfForwardRow* widget) {
  gtk_widget_activate_action(GTK_WIDGET(widget), "win.allow", "s", widget->key);
}

void enable(VfForwardRow* widget) {
  gtk_widget_activate_action(GTK_WIDGET(widget), "win.enable", "s", widget->key);
}

void copy(VfForwardRow* widget) {
  gtk_widget_activate_action(GTK_WIDGET(widget), "win.copy", "s", widget->key);
}

void open(VfForwardRow* widget) {
  gtk_widget_activate_action(GTK_WIDGET(widget), "win.open", "s", widget->key);
}

void finalize(GObject* object) {
  g_free(VF_FORWARD_ROW(object)->key);
  G_OBJECT_CLASS(vf_forward_row_parent_class)->finalize(object);
}

void append(GMenu* menu, const char* label, const char* action, const std::string& key) {
  GMenuItem* item = g_menu_item_new(label, nullptr);
  g_menu_item_set_action_and_target(item, action, "s", key.c_str());
  g_menu_append_item(menu, item);
  g_object_unref(item);
}

// What can be done beside the buttons. Ports that come by themselves are blocked, and what
// somebody has written is removed.
GMenu* menu_of(const Row& row) {
  GMenu* menu = g_menu_new();
  if (const auto* forward = std::get_if<ForwardRow>(&row.content)) {
    if (forward->forward.origin == Origin::automatic) {
      if (forward->allowed) append(menu, _("Take _Permission Back"), "win.disallow", row.key);
      append(menu, _("_Block Port"), "win.block", row.key);
    } else {
      const bool disabled = forward->forward.state == ForwardState::disabled;
      append(menu, _("_Edit…"), "win.edit", row.key);
      append(menu, disabled ? _("E_nable") : _("_Disable"), disabled ? "win.enable" : "win.disable",
             row.key);
      append(menu, _("_Remove…"), "win.remove", row.key);
    }
  } else if (const auto* port = std::get_if<PortRow>(&row.content)) {
    const bool blocked = port->port.state == DetectedState::blocked;
    if (port->port.state == DetectedState::asking && port->port.process &&
        !port->port.process->name.empty())
      append(menu, _("Al_ways Allow This Process"), "win.allow-process", row.key);
    append(menu, _("_Forward…"), "win.forward", row.key);
    append(menu, blocked ? _("_Unblock Port") : _("_Block Port"),
           blocked ? "win.unblock" : "win.block", row.key);
  }
  return menu;
}

void show_forward(VfForwardRow* widget, const ForwardRow& row) {
  const std::string address = url(row.forward);
  const bool disabled = row.forward.state == ForwardState::disabled;
  gtk_image_set_from_icon_name(widget->state_icon, icon(row.forward));
  set_style(widget->state_icon, style(row.forward));
  gtk_widget_set_tooltip_text(GTK_WIDGET(widget->state_icon), state(row.forward).c_str());
  set_text(widget->title, title(row.forward));
  set_text(widget->details, details(row));
  const std::string problem = trouble(row.forward);
  set_text(widget->trouble, problem);
  set_style(widget->trouble, style(row.forward));
  set_text(widget->url, address);
  gtk_widget_set_tooltip_text(GTK_WIDGET(widget->url), address.c_str());
  set_text(widget->traffic, traffic(row));
  gtk_widget_set_visible(GTK_WIDGET(widget->allow), FALSE);
  gtk_widget_set_visible(GTK_WIDGET(widget->enable), disabled);
  gtk_widget_set_visible(GTK_WIDGET(widget->copy), !address.empty() && !disabled);
  gtk_widget_set_visible(GTK_WIDGET(widget->open), !address.empty() && !disabled);
  gtk_widget_set_sensitive(GTK_WIDGET(widget->open), opens(address));
}

void show_port(VfForwardRow* widget, const PortView& port) {
  gtk_image_set_from_icon_name(widget->state_icon, icon(port));
  set_style(widget->state_icon, style(port));
  gtk_widget_set_tooltip_text(GTK_WIDGET(widget->state_icon), state(port).c_str());
  set_text(widget->title, title(port));
  set_text(widget->details, details(port));
  std::string why = state(port);
  if (!port.reason.empty()) why += ": " + port.reason;
  set_text(widget->trouble, why);
  set_style(widget->trouble, style(port));
  set_text(widget->url, {});
  set_text(widget->traffic, {});
  gtk_widget_set_visible(GTK_WIDGET(widget->allow), port.state == DetectedState::asking);
  gtk_widget_set_visible(GTK_WIDGET(widget->enable), FALSE);
  gtk_widget_set_visible(GTK_WIDGET(widget->copy), FALSE);
  gtk_widget_set_visible(GTK_WIDGET(widget->open), FALSE);
}

}  // namespace

void vf_forward_row_show(VfForwardRow* widget, const Row& row) {
  g_free(widget->key);
  widget->key = g_strdup(row.key.c_str());
  if (const auto* forward = std::get_if<ForwardRow>(&row.content))
    show_forward(widget, *forward);
  else if (const auto* port = std::get_if<PortRow>(&row.content))
    show_port(widget, port->port);
  // A menu that is open stays as it is.
  if (GtkPopover* popover = gtk_menu_button_get_popover(widget->more);
      !popover || !gtk_widget_get_visible(GTK_WIDGET(popover))) {
    GMenu* menu = menu_of(row);
    gtk_menu_button_set_menu_model(widget->more, G_MENU_MODEL(menu));
    g_object_unref(menu);
  }
}

static void vf_forward_row_class_init(VfForwardRowClass* type) {
  G_OBJECT_CLASS(type)->finalize = finalize;
  set_template(type, "forward-row",
               {{"state_icon", G_STRUCT_OFFSET(VfForwardRow, state_icon)},
                {"title", G_STRUCT_OFFSET(VfForwardRow, title)},
                {"details", G_STRUCT_OFFSET(VfForwardRow, details)},
                {"trouble", G_STRUCT_OFFSET(VfForwardRow, trouble)},
                {"url", G_STRUCT_OFFSET(VfForwardRow, url)},
                {"traffic", G_STRUCT_OFFSET(VfForwardRow, traffic)},
                {"allow", G_STRUCT_OFFSET(VfForwardRow, allow)},
                {"enable", G_STRUCT_OFFSET(VfForwardRow, enable)},
                {"copy", G_STRUCT_OFFSET(VfForwardRow, copy)},
                {"open", G_STRUCT_OFFSET(VfForwardRow, open)},
                {"more", G_STRUCT_OFFSET(VfForwardRow, more)}});
}

static void vf_forward_row_init(VfForwardRow* widget) {
  gtk_widget_init_template(GTK_WIDGET(widget));
  g_signal_connect_swapped(widget->allow, "clicked", G_CALLBACK(allow), widget);
  g_signal_connect_swapped(widget->enable, "clicked", G_CALLBACK(enable), widget);
  g_signal_connect_swapped(widget->copy, "clicked", G_CALLBACK(copy), widget);
  g_signal_connect_swapped(widget->open, "clicked", G_CALLBACK(open), widget);
}

}  // namespace vf::panel
