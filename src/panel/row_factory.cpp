// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The list has as many of these as fit on the screen and a few more. Each slot keeps one widget of
// each kind that it has shown, since what it shows next can be of any kind.

#include <adwaita.h>
#include <glib/gi18n.h>

#include <array>

#include "glib/ref.h"
#include "panel/row_widgets.h"
#include "panel/words.h"

namespace vf::panel {
namespace {

struct Slot {
  AdwBin* bin = nullptr;
  std::array<Ref<GtkWidget>, 3> widgets;  // domain, note, forward or port
  VfRowItem* item = nullptr;              // while it is bound
  gulong handler = 0;
};

Slot* slot_of(GtkListItem* list_item) {
  return static_cast<Slot*>(g_object_get_data(G_OBJECT(list_item), "slot"));
}

void destroy_slot(gpointer slot) noexcept {
  delete static_cast<Slot*>(slot);
}

GtkWidget* new_note() {
  GtkWidget* label = gtk_label_new(nullptr);
  gtk_label_set_xalign(GTK_LABEL(label), 0);
  gtk_label_set_wrap(GTK_LABEL(label), TRUE);
  gtk_label_set_wrap_mode(GTK_LABEL(label), PANGO_WRAP_WORD_CHAR);
  gtk_widget_add_css_class(label, "note-row");
  return label;
}

std::string note_text(const NoteRow& note) {
  if (note.kind != NoteRow::Kind::empty) return note.text;
  return _(
      "No forwards yet. Add one with +, or switch Automatic on to forward what opens in the "
      "machine.");
}

void show(Slot* slot) {
  const Row& row = vf_row_item_row(slot->item);
  const bool domain = std::holds_alternative<DomainRow>(row.content);
  const auto* note = std::get_if<NoteRow>(&row.content);
  Ref<GtkWidget>& widget = slot->widgets[domain ? 0 : note ? 1 : 2];
  if (!widget) {
    GtkWidget* made = domain ? GTK_WIDGET(g_object_new(VF_TYPE_DOMAIN_ROW, nullptr))
                      : note ? new_note()
                             : GTK_WIDGET(g_object_new(VF_TYPE_FORWARD_ROW, nullptr));
    widget = adopt(GTK_WIDGET(g_object_ref_sink(made)));
  }
  if (adw_bin_get_child(slot->bin) != widget.get()) adw_bin_set_child(slot->bin, widget.get());
  std::string words = spoken(row);
  if (domain) {
    vf_domain_row_show(VF_DOMAIN_ROW(widget.get()), row);
  } else if (note) {
    words = note_text(*note);
    gtk_label_set_text(GTK_LABEL(widget.get()), words.c_str());
    if (note->kind == NoteRow::Kind::problem) {
      gtk_widget_remove_css_class(widget.get(), "dim-label");
      gtk_widget_add_css_class(widget.get(), "error");
    } else {
      gtk_widget_remove_css_class(widget.get(), "error");
      gtk_widget_add_css_class(widget.get(), "dim-label");
    }
  } else {
    vf_forward_row_show(VF_FORWARD_ROW(widget.get()), row);
  }
  // The list's own widget around it has the focus, and is what a screen reader reads.
  if (GtkWidget* holder = gtk_widget_get_parent(GTK_WIDGET(slot->bin)))
    gtk_accessible_update_property(GTK_ACCESSIBLE(holder), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   words.c_str(), -1);
}

// The row that has the keyboard, or a button of which has it, is the one that keys are for.
void entered(GtkListItem* list_item) {
  gtk_widget_activate_action(gtk_list_item_get_child(list_item), "list.select-item", "(ubb)",
                             gtk_list_item_get_position(list_item), FALSE, FALSE);
}

// By the list's own widget around it.
void held(GtkListItem* list_item, GParamSpec*, GtkWidget* bin) {
  GtkWidget* holder = gtk_widget_get_parent(bin);
  if (!holder) return;
  GtkEventController* focus = gtk_event_controller_focus_new();
  g_signal_connect_object(focus, "enter", G_CALLBACK(entered), list_item, G_CONNECT_SWAPPED);
  gtk_widget_add_controller(holder, focus);
}

void setup(GtkSignalListItemFactory*, GtkListItem* list_item, gpointer) {
  auto* slot = new Slot;
  slot->bin = ADW_BIN(adw_bin_new());
  g_signal_connect_object(slot->bin, "notify::parent", G_CALLBACK(held), list_item,
                          G_CONNECT_SWAPPED);
  g_object_set_data(G_OBJECT(slot->bin), "slot", slot);
  gtk_list_item_set_child(list_item, GTK_WIDGET(slot->bin));
  g_object_set_data_full(G_OBJECT(list_item), "slot", slot, destroy_slot);
}

void bind(GtkSignalListItemFactory*, GtkListItem* list_item, gpointer) {
  Slot* slot = slot_of(list_item);
  slot->item = VF_ROW_ITEM(gtk_list_item_get_item(list_item));
  slot->handler = g_signal_connect_swapped(slot->item, "changed", G_CALLBACK(show), slot);
  show(slot);
}

void unbind(GtkSignalListItemFactory*, GtkListItem* list_item, gpointer) {
  Slot* slot = slot_of(list_item);
  g_signal_handler_disconnect(slot->item, slot->handler);
  slot->item = nullptr;
}

}  // namespace

GtkWidget* row_holder(GtkListView* list, guint position) {
  auto* model = G_LIST_MODEL(gtk_list_view_get_model(list));
  const auto item = adopt(VF_ROW_ITEM(g_list_model_get_item(model, position)));
  for (GtkWidget* holder = gtk_widget_get_first_child(GTK_WIDGET(list)); holder;
       holder = gtk_widget_get_next_sibling(holder)) {
    GtkWidget* bin = gtk_widget_get_first_child(holder);
    const auto* slot = bin ? static_cast<Slot*>(g_object_get_data(G_OBJECT(bin), "slot")) : nullptr;
    if (slot && slot->item == item.get()) return holder;
  }
  return nullptr;
}

GtkListItemFactory* row_factory() {
  GtkListItemFactory* factory = gtk_signal_list_item_factory_new();
  g_signal_connect(factory, "setup", G_CALLBACK(setup), nullptr);
  g_signal_connect(factory, "bind", G_CALLBACK(bind), nullptr);
  g_signal_connect(factory, "unbind", G_CALLBACK(unbind), nullptr);
  return factory;
}

}  // namespace vf::panel
