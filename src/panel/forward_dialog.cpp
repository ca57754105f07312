// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every change is checked twice: at once by the rules of a definition, and as soon as the typing
// pauses by the daemon, which alone knows what is taken. An answer that a later change has made old
// is dropped by its number.

#include "panel/forward_dialog.h"

#include <glib/gi18n.h>

#include <array>

#include "base/printable.h"
#include "panel/forward_form.h"
#include "panel/words.h"

namespace vf::panel {

#define VF_TYPE_FORWARD_DIALOG (vf_forward_dialog_get_type())
G_DECLARE_FINAL_TYPE(VfForwardDialog, vf_forward_dialog, VF, FORWARD_DIALOG, AdwWindow)

struct _VfForwardDialog {
  AdwWindow parent;
  GtkButton* accept;
  AdwComboRow* machine;
  GtkEditable* guest_port;
  GtkEditable* host_port;
  AdwComboRow* protocol;
  GtkEditable* label;
  AdwComboRow* span;
  GtkImage* verdict_icon;
  GtkLabel* verdict;
};

G_DEFINE_FINAL_TYPE(VfForwardDialog, vf_forward_dialog, ADW_TYPE_WINDOW)

static void vf_forward_dialog_class_init(VfForwardDialogClass* type) {
  GtkWidgetClass* widget = GTK_WIDGET_CLASS(type);
  gtk_widget_class_set_template_from_resource(widget,
                                              "/org/virtforward1/Panel/ui/forward-dialog.ui");
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, accept);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, machine);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, guest_port);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, host_port);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, protocol);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, label);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, span);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, verdict_icon);
  gtk_widget_class_bind_template_child(widget, VfForwardDialog, verdict);
}

static void vf_forward_dialog_init(VfForwardDialog* dialog) {
  gtk_widget_init_template(GTK_WIDGET(dialog));
}

namespace {

constexpr std::chrono::milliseconds typing_pause{150};
enum Span : guint { this_run = 0, always = 1 };

struct Machine {
  std::size_t source;
  std::string path;
  bool persistent;
};

// Lives as long as its dialog.
class Asking {
 public:
  Asking(Panel& panel, VfForwardDialog* dialog)
      : panel_(panel), dialog_(dialog), self_(std::make_shared<Asking*>(this)) {
    for (GtkEditable* entry : {dialog->guest_port, dialog->host_port, dialog->label})
      g_signal_connect_swapped(entry, "changed", G_CALLBACK(on_change), this);
    for (AdwComboRow* combo : {dialog->machine, dialog->protocol, dialog->span})
      g_signal_connect_swapped(combo, "notify::selected", G_CALLBACK(on_change), this);
    g_signal_connect_swapped(dialog->accept, "clicked", G_CALLBACK(on_accept), this);
  }

  void offer_machines(const Row* chosen) {
    GtkStringList* names = gtk_string_list_new(nullptr);
    guint selected = 0;
    for (const Row* row : panel_.domains()) {
      const DomainView& domain = std::get<DomainRow>(row->content).domain;
      std::string name = printable(domain.name, 256);
      if (panel_.several()) name += " (" + panel_.source_name(row->source) + ')';
      gtk_string_list_append(names, name.c_str());
      if (chosen && chosen->source == row->source && chosen->domain == row->path)
        selected = static_cast<guint>(machines_.size());
      machines_.push_back({row->source, row->path, domain.persistent});
    }
    adw_combo_row_set_model(dialog_->machine, G_LIST_MODEL(names));
    g_object_unref(names);
    adw_combo_row_set_selected(dialog_->machine, selected);
  }

  void fill(const ForwardForm& form, Span span) {
    gtk_editable_set_text(dialog_->guest_port, form.guest_port.c_str());
    gtk_editable_set_text(dialog_->host_port, form.host_port.c_str());
    gtk_editable_set_text(dialog_->label, form.label.c_str());
    adw_combo_row_set_selected(dialog_->protocol, form.protocol == Protocol::udp ? 1 : 0);
    adw_combo_row_set_selected(dialog_->span, span);
    changed();
  }

  // The forward is there and is to become what is typed.
  void change(const ForwardView& forward, const ForwardForm& form) {
    before_ = form;
    forward_ = forward;
    gtk_window_set_title(GTK_WINDOW(dialog_), _("Edit Forward"));
    gtk_button_set_label(dialog_->accept, _("_Save"));
    gtk_accessible_update_property(GTK_ACCESSIBLE(dialog_->accept), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   _("Save"), -1);
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->machine), FALSE);
    gtk_widget_set_visible(GTK_WIDGET(dialog_->span), FALSE);
  }

 private:
  static void on_change(Asking* asking) { asking->changed(); }
  static void on_accept(Asking* asking) { asking->accept(); }

  ForwardForm form() const {
    return {gtk_editable_get_text(dialog_->guest_port), gtk_editable_get_text(dialog_->host_port),
            adw_combo_row_get_selected(dialog_->protocol) == 1 ? Protocol::udp : Protocol::tcp,
            gtk_editable_get_text(dialog_->label)};
  }

  const Machine* machine() const {
    const guint selected = adw_combo_row_get_selected(dialog_->machine);
    return selected < machines_.size() ? &machines_[selected] : nullptr;
  }

  EditFlags flags() const {
    EditFlags flags;
    if (forward_) {
      flags.live = forward_->live;
      flags.config = forward_->config;
    } else if (adw_combo_row_get_selected(dialog_->span) == always) {
      flags.persistent = true;
    } else {
      flags.live = true;
    }
    return flags;
  }

  void changed() {
    ++number_;
    pause_.reset();
    const Machine* of = machine();
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->span), of && of->persistent);
    const ForwardForm given = form();
    if (given.guest_port.empty() || !of) {
      mark(dialog_->guest_port, true);
      return judge(
          {Verdict::Kind::unknown, of ? _("Which port does the service in the machine listen on?")
                                      : _("No machine runs. Start one first.")});
    }
    if (const auto checked = given.check(); !checked)
      return judge({Verdict::Kind::wrong, checked.error().message});
    if (forward_ && given.host_port == before_.host_port && given.protocol == before_.protocol &&
        given.guest_port == before_.guest_port) {
      return judge(
          {given.label == before_.label ? Verdict::Kind::unknown : Verdict::Kind::good, {}});
    }
    // What stood there stays as long as nobody knows better; nothing can be accepted meanwhile.
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->accept), FALSE);
    pause_ = after(typing_pause, [this] { ask(); });
  }

  void ask() {
    const Machine* of = machine();
    if (!of) return;
    EditFlags dry = flags();
    dry.dry_run = true;
    panel_.ask(
        of->source,
        [path = of->path, attributes = form().attributes(), dry](const Daemon& daemon) {
          return daemon.add_forward(path, attributes, dry);
        },
        [alive = std::weak_ptr(self_),
         number = number_](const Result<std::vector<AddedForward>>& answer) {
          const auto self = alive.lock();
          if (self && (*self)->number_ == number) (*self)->judge(verdict(answer));
        });
  }

  static void mark(GtkEditable* entry, bool good) {
    if (good)
      gtk_widget_remove_css_class(GTK_WIDGET(entry), "error");
    else
      gtk_widget_add_css_class(GTK_WIDGET(entry), "error");
  }

  void judge(const Verdict& verdict) {
    constexpr std::array<const char*, 4> icons{"dialog-information-symbolic", "emblem-ok-symbolic",
                                               "dialog-warning-symbolic", "dialog-error-symbolic"};
    constexpr std::array<const char*, 4> styles{"dim-label", "success", "warning", "error"};
    const auto kind = static_cast<std::size_t>(verdict.kind);
    gtk_image_set_from_icon_name(dialog_->verdict_icon, icons[kind]);
    gtk_widget_set_visible(GTK_WIDGET(dialog_->verdict_icon), !verdict.text.empty());
    for (const char* style : styles)
      gtk_widget_remove_css_class(GTK_WIDGET(dialog_->verdict_icon), style);
    gtk_widget_add_css_class(GTK_WIDGET(dialog_->verdict_icon), styles[kind]);
    gtk_label_set_text(dialog_->verdict, printable(verdict.text).c_str());
    const bool wrong = verdict.kind == Verdict::Kind::wrong;
    const ForwardForm given = form();
    mark(dialog_->guest_port, !wrong || PortRange::parse(given.guest_port));
    mark(dialog_->host_port,
         !wrong || (!PortRange::parse(given.guest_port) &&
                    (given.host_port.empty() || PortRange::parse(given.host_port))));
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->accept), verdict.kind == Verdict::Kind::good ||
                                                              verdict.kind == Verdict::Kind::moved);
  }

  void accept() {
    const Machine* of = machine();
    if (!of) return;
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->accept), FALSE);
    ++number_;
    if (forward_) return save(*of);
    panel_.ask(
        of->source,
        [path = of->path, attributes = form().attributes(), to = flags()](const Daemon& daemon) {
          return daemon.add_forward(path, attributes, to);
        },
        [alive = std::weak_ptr(self_),
         window = panel_.window()](const Result<std::vector<AddedForward>>& added) {
          std::string done = _("Forward added");
          if (added && !added->empty() && added->front().host_port)
            done = take_string(g_strdup_printf(_("Port %u of this host is forwarded"),
                                               unsigned{added->front().host_port->number()}));
          const auto self = alive.lock();
          if (added) vf_window_toast(window, done);
          if (self && added) return gtk_window_destroy(GTK_WINDOW((*self)->dialog_));
          if (self) (*self)->judge({Verdict::Kind::wrong, added.error().message});
        });
  }

  void save(const Machine& of) {
    const std::string identity = forward_->definition.empty() ? forward_->id : forward_->definition;
    panel_.ask(
        of.source,
        [path = of.path, identity, changes = form().changes(), to = flags()](const Daemon& daemon) {
          return daemon.change_forward(path, identity, changes, to);
        },
        [alive = std::weak_ptr(self_),
         window = panel_.window()](const Result<std::vector<AddedForward>>& changed) {
          const auto self = alive.lock();
          if (changed) vf_window_toast(window, _("Forward changed"));
          if (self && changed) return gtk_window_destroy(GTK_WINDOW((*self)->dialog_));
          if (self) (*self)->judge({Verdict::Kind::wrong, changed.error().message});
        });
  }

  Panel& panel_;
  VfForwardDialog* const dialog_;
  std::vector<Machine> machines_;
  std::optional<ForwardView> forward_;  // that is edited
  ForwardForm before_;
  unsigned number_ = 0;
  Source pause_;
  std::shared_ptr<Asking*> self_;
};

Asking* open_dialog(Panel& panel) {
  auto* dialog =
      VF_FORWARD_DIALOG(g_object_new(VF_TYPE_FORWARD_DIALOG, "transient-for", panel.window(),
                                     "destroy-with-parent", TRUE, nullptr));
  auto* asking = new Asking(panel, dialog);
  g_signal_connect_data(dialog, "destroy",
                        G_CALLBACK(+[](VfForwardDialog*, Asking* of) { delete of; }), asking,
                        nullptr, G_CONNECT_DEFAULT);
  gtk_window_present(GTK_WINDOW(dialog));
  return asking;
}

}  // namespace

void show_add_dialog(Panel& panel, const Row* row, std::optional<Port> guest_port,
                     Protocol protocol) {
  ForwardForm form;
  form.protocol = protocol;
  if (guest_port) form.guest_port = std::to_string(guest_port->number());
  Asking* asking = open_dialog(panel);
  asking->offer_machines(row);
  asking->fill(form, this_run);
}

void show_edit_dialog(Panel& panel, const Row& row) {
  const ForwardView& forward = std::get<ForwardRow>(row.content).forward;
  ForwardForm form;
  form.protocol = forward.protocol;
  form.label = forward.label;
  if (forward.guest_port) form.guest_port = std::to_string(forward.guest_port->number());
  if (forward.requested_port) form.host_port = std::to_string(forward.requested_port->number());
  Asking* asking = open_dialog(panel);
  asking->offer_machines(&row);
  asking->change(forward, form);
  asking->fill(form, forward.config ? always : this_run);
}

}  // namespace vf::panel
