// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The set-up that every widget of ours with a .ui file has.

#pragma once

#include <gtk/gtk.h>

#include <initializer_list>
#include <string>

namespace vf::panel {

struct TemplateChild {
  const char* id;
  gssize offset;  // G_STRUCT_OFFSET of the pointer to it
};

// `name`: of the file, without ".ui".
inline void set_template(gpointer type, const char* name,
                         std::initializer_list<TemplateChild> children) {
  GtkWidgetClass* widget = GTK_WIDGET_CLASS(type);
  const std::string path = std::string("/org/virtforward1/Panel/ui/") + name + ".ui";
  gtk_widget_class_set_template_from_resource(widget, path.c_str());
  for (const TemplateChild& child : children)
    gtk_widget_class_bind_template_child_full(widget, child.id, FALSE, child.offset);
}

}  // namespace vf::panel
