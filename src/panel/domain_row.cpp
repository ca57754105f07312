// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/printable.h"
#include "panel/row_widgets.h"
#include "panel/template.h"
#include "panel/words.h"

namespace vf::panel {

struct _VfDomainRow {
  GtkBox parent;
  GtkLabel* name;
  GtkLabel* details;
  GtkSwitch* automatic;
  GtkButton* add;
  bool showing;  // the switch is moved by what is shown and by nobody
};

G_DEFINE_FINAL_TYPE(VfDomainRow, vf_domain_row, GTK_TYPE_BOX)

namespace {

// The switch shows what is so: it moves when the daemon has done it, and back when it has not.
gboolean switched(GtkSwitch*, gboolean on, VfDomainRow* widget) {
  if (widget->showing) return FALSE;
  GVariant* key = gtk_actionable_get_action_target_value(GTK_ACTIONABLE(widget->add));
  gtk_widget_activate_action(GTK_WIDGET(widget), "win.automatic", "(sb)",
                             g_variant_get_string(key, nullptr), on);
  return TRUE;
}

}  // namespace

void vf_domain_row_show(VfDomainRow* widget, const Row& row) {
  const auto& shown = std::get<DomainRow>(row.content);
  const DomainView& domain = shown.domain;
  gtk_label_set_text(widget->name, printable(domain.name, 256).c_str());
  const std::string details = vf::panel::details(shown);
  gtk_label_set_text(widget->details, details.c_str());
  gtk_widget_set_tooltip_text(GTK_WIDGET(widget->details), details.c_str());
  gtk_widget_set_visible(GTK_WIDGET(widget->details), !details.empty());
  gtk_actionable_set_action_target(GTK_ACTIONABLE(widget->add), "s", row.key.c_str());
  widget->showing = true;
  gtk_switch_set_active(widget->automatic, domain.automatic);
  gtk_switch_set_state(widget->automatic, domain.automatic);
  widget->showing = false;
}

static void vf_domain_row_class_init(VfDomainRowClass* type) {
  set_template(type, "domain-row",
               {{"name", G_STRUCT_OFFSET(VfDomainRow, name)},
                {"details", G_STRUCT_OFFSET(VfDomainRow, details)},
                {"automatic", G_STRUCT_OFFSET(VfDomainRow, automatic)},
                {"add", G_STRUCT_OFFSET(VfDomainRow, add)}});
}

static void vf_domain_row_init(VfDomainRow* widget) {
  gtk_widget_init_template(GTK_WIDGET(widget));
  g_signal_connect(widget->automatic, "state-set", G_CALLBACK(switched), widget);
}

}  // namespace vf::panel
