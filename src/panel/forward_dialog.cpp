// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every change is checked twice: at once by the rules of a definition, and as soon as the typing
// pauses by the daemon, which alone knows what is taken. An answer that a later change has made old
// is dropped by its number.

#include "panel/forward_dialog.h"

#include <glib/gi18n.h>

#include <array>
#include <utility>

#include "base/printable.h"
#include "core/definition_xml.h"
#include "panel/forward_form.h"
#include "panel/template.h"
#include "panel/words.h"

namespace vf::panel {

#define VF_TYPE_FORWARD_DIALOG (vf_forward_dialog_get_type())
G_DECLARE_FINAL_TYPE(VfForwardDialog, vf_forward_dialog, VF, FORWARD_DIALOG, AdwWindow)

struct _VfForwardDialog {
  AdwWindow parent;
  GtkButton* accept;
  GtkLabel* accept_label;
  AdwComboRow* machine;
  GtkEditable* guest_port;
  GtkEditable* host_port;
  AdwComboRow* protocol;
  GtkEditable* label;
  AdwComboRow* span;
  AdwExpanderRow* more;
  GtkEditable* host_address;
  AdwComboRow* transport;
  GtkImage* verdict_icon;
  GtkLabel* verdict;
};

G_DEFINE_FINAL_TYPE(VfForwardDialog, vf_forward_dialog, ADW_TYPE_WINDOW)

static void vf_forward_dialog_class_init(VfForwardDialogClass* type) {
  set_template(type, "forward-dialog",
               {{"accept", G_STRUCT_OFFSET(VfForwardDialog, accept)},
                {"accept_label", G_STRUCT_OFFSET(VfForwardDialog, accept_label)},
                {"machine", G_STRUCT_OFFSET(VfForwardDialog, machine)},
                {"guest_port", G_STRUCT_OFFSET(VfForwardDialog, guest_port)},
                {"host_port", G_STRUCT_OFFSET(VfForwardDialog, host_port)},
                {"protocol", G_STRUCT_OFFSET(VfForwardDialog, protocol)},
                {"label", G_STRUCT_OFFSET(VfForwardDialog, label)},
                {"span", G_STRUCT_OFFSET(VfForwardDialog, span)},
                {"more", G_STRUCT_OFFSET(VfForwardDialog, more)},
                {"host_address", G_STRUCT_OFFSET(VfForwardDialog, host_address)},
                {"transport", G_STRUCT_OFFSET(VfForwardDialog, transport)},
                {"verdict_icon", G_STRUCT_OFFSET(VfForwardDialog, verdict_icon)},
                {"verdict", G_STRUCT_OFFSET(VfForwardDialog, verdict)}});
}

static void vf_forward_dialog_init(VfForwardDialog* dialog) {
  gtk_widget_init_template(GTK_WIDGET(dialog));
}

namespace {

constexpr std::chrono::milliseconds typing_pause{150};

struct Machine {
  std::size_t source;
  std::string path;
  bool persistent;
};

Result<std::vector<AddedForward>> changed_forward(const Daemon& daemon, const std::string& domain,
                                                  const std::string& identity,
                                                  const ForwardDefinition& definition,
                                                  const Attributes& changes,
                                                  const Keeping& keeping) {
  Result<std::vector<AddedForward>> changed = std::vector<AddedForward>();
  if (!changes.empty()) changed = daemon.change_forward(domain, identity, changes, keeping.flags());
  if (!changed || !keeping.saves()) return changed;
  EditFlags next_start;
  next_start.config = true;
  return daemon.add_forward(domain, ForwardForm::changed(definition, changes), next_start);
}

// Lives as long as its dialog.
class Asking {
 public:
  Asking(Panel& panel, VfForwardDialog* dialog)
      : panel_(panel), dialog_(dialog), self_(std::make_shared<Asking*>(this)) {
    for (GtkEditable* entry : entries()) {
      g_signal_connect_swapped(entry, "changed", G_CALLBACK(on_change), this);
      g_signal_connect_swapped(entry, "entry-activated", G_CALLBACK(on_enter), this);
    }
    for (AdwComboRow* combo : combos())
      g_signal_connect_swapped(combo, "notify::selected", G_CALLBACK(on_change), this);
    g_signal_connect_swapped(dialog->accept, "clicked", G_CALLBACK(on_accept), this);
  }
  // The widgets go later, and may still tell of changes on their way.
  ~Asking() {
    for (GtkEditable* entry : entries())
      g_signal_handlers_disconnect_by_data(entry, this);
    for (AdwComboRow* combo : combos())
      g_signal_handlers_disconnect_by_data(combo, this);
    g_signal_handlers_disconnect_by_data(dialog_->accept, this);
  }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;

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
    show_side(dialog_->guest_port, form.guest_port, form.guest_socket);
    show_side(dialog_->host_port, form.host_port, form.host_socket);
    gtk_editable_set_text(dialog_->label, form.label.c_str());
    gtk_editable_set_text(dialog_->host_address, form.host_address.c_str());
    adw_combo_row_set_selected(dialog_->transport, static_cast<guint>(form.transport));
    if (!form.host_address.empty() || form.transport != Transport::automatic)
      adw_expander_row_set_expanded(dialog_->more, TRUE);
    adw_combo_row_set_selected(dialog_->protocol, form.protocol == Protocol::udp ? 1 : 0);
    adw_combo_row_set_selected(dialog_->span, static_cast<guint>(span));
    changed();
  }

  // The forward is there and is to become what is typed.
  void change(const ForwardView& forward, const ForwardDefinition& definition) {
    before_ = form_of(definition);
    forward_ = forward;
    definition_ = definition;
    gtk_window_set_title(GTK_WINDOW(dialog_), _("Edit Forward"));
    gtk_label_set_label(dialog_->accept_label, _("_Save"));
    gtk_accessible_update_property(GTK_ACCESSIBLE(dialog_->accept), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   _("Save"), -1);
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->machine), FALSE);
  }

 private:
  std::array<GtkEditable*, 4> entries() const {
    return {dialog_->guest_port, dialog_->host_port, dialog_->label, dialog_->host_address};
  }
  std::array<AdwComboRow*, 4> combos() const {
    return {dialog_->machine, dialog_->protocol, dialog_->span, dialog_->transport};
  }
  static void on_change(Asking* asking) { asking->changed(); }
  static void on_accept(Asking* asking) { asking->accept(); }
  static void on_enter(Asking* asking) { asking->hasty_ = asking->unjudged_; }

  // Ports, or the socket that is there in their place, which is not for this dialog to change.
  static void show_side(GtkEditable* entry, const std::string& ports, const std::string& socket) {
    gtk_editable_set_text(entry, printable(socket.empty() ? ports : socket).c_str());
    gtk_widget_set_sensitive(GTK_WIDGET(entry), socket.empty());
  }

  ForwardForm form() const {
    ForwardForm form;
    form.guest_socket = before_.guest_socket;
    form.host_socket = before_.host_socket;
    if (form.guest_socket.empty()) form.guest_port = gtk_editable_get_text(dialog_->guest_port);
    if (form.host_socket.empty()) form.host_port = gtk_editable_get_text(dialog_->host_port);
    if (adw_combo_row_get_selected(dialog_->protocol) == 1) form.protocol = Protocol::udp;
    form.label = gtk_editable_get_text(dialog_->label);
    form.host_address = gtk_editable_get_text(dialog_->host_address);
    form.transport = static_cast<Transport>(adw_combo_row_get_selected(dialog_->transport));
    return form;
  }

  const Machine* machine() const {
    const guint selected = adw_combo_row_get_selected(dialog_->machine);
    return selected < machines_.size() ? &machines_[selected] : nullptr;
  }

  Keeping keeping() const {
    const Machine* of = machine();
    Keeping keeping;
    keeping.defined = !of || of->persistent;
    if (keeping.defined)
      keeping.span = static_cast<Span>(adw_combo_row_get_selected(dialog_->span));
    keeping.edited = forward_.has_value();
    keeping.saved = forward_ && forward_->config;
    return keeping;
  }

  void changed() {
    ++number_;
    pause_.reset();
    unjudged_ = hasty_ = false;
    const Machine* of = machine();
    const Keeping keeping = this->keeping();
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->span), of && keeping.defined);
    adw_action_row_set_subtitle(ADW_ACTION_ROW(dialog_->span), keeping.text().c_str());
    const ForwardForm given = form();
    if ((given.guest_port.empty() && given.guest_socket.empty()) || !of) {
      mark(dialog_->guest_port, true);
      return judge(
          {Verdict::Kind::unknown, of ? _("Which port does the service in the machine listen on?")
                                      : _("No machine runs. Start one first.")});
    }
    if (const auto checked = given.check(); !checked)
      return judge({Verdict::Kind::wrong, checked.error().message});
    // Where it listens already nothing is in its way but itself.
    if (forward_ && !given.moves(before_))
      return judge({given.changes(before_).empty() && !keeping.saves() ? Verdict::Kind::unknown
                                                                       : Verdict::Kind::good,
                    {}});
    // What stood there stays as long as nobody knows better; nothing can be accepted meanwhile.
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->accept), FALSE);
    unjudged_ = true;
    pause_ = after(typing_pause, [this] { ask(); });
  }

  void ask() {
    const Machine* of = machine();
    if (!of) return;
    Keeping anew = keeping();  // it gets its place as if it was added
    anew.edited = false;
    EditFlags dry = anew.flags();
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
    const bool guest = !given.guest_socket.empty() || PortRange::parse(given.guest_port);
    const bool address = given.host_address.empty() || IpAddress::parse(given.host_address);
    mark(dialog_->guest_port, !wrong || guest);
    mark(dialog_->host_address, !wrong || address);
    mark(dialog_->host_port,
         !wrong || ((!guest || !address) &&
                    (given.host_port.empty() || PortRange::parse(given.host_port))));
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->accept), verdict.kind == Verdict::Kind::good ||
                                                              verdict.kind == Verdict::Kind::moved);
    unjudged_ = false;
    // Another port than what was typed is seen first.
    if (std::exchange(hasty_, false) && verdict.kind == Verdict::Kind::good) accept();
  }

  void accept() {
    const Machine* of = machine();
    if (!of) return;
    gtk_widget_set_sensitive(GTK_WIDGET(dialog_->accept), FALSE);
    ++number_;
    if (forward_) return save(*of);
    panel_.ask(
        of->source,
        [path = of->path, attributes = form().attributes(), to = keeping().flags()](
            const Daemon& daemon) { return daemon.add_forward(path, attributes, to); },
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
        [path = of.path, identity, definition = *definition_, changes = form().changes(before_),
         keeping = keeping()](const Daemon& daemon) {
          return changed_forward(daemon, path, identity, definition, changes, keeping);
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
  std::optional<ForwardDefinition> definition_;
  ForwardForm before_;
  unsigned number_ = 0;
  Source pause_;
  bool unjudged_ = false;  // what is typed
  bool hasty_ = false;     // Enter came before the verdict
  std::shared_ptr<Asking*> self_;
};

// What the forward was made of: its object tells what has become of it.
Result<ForwardDefinition> definition_in(const Daemon& daemon, const std::string& domain,
                                        const std::string& identity, const EditFlags& from) {
  const auto metadata = daemon.metadata(domain, from);
  if (!metadata) return Unexpected(metadata.error());
  const ParsedDefinitions parsed = parse_definitions(*metadata);
  for (const ForwardDefinition& one : parsed.definitions.forwards)
    if (one.identity() == identity) return one;
  return Unexpected(ErrorCode::no_such_forward, _("This forward is not there any more."));
}

Asking* open_dialog(Panel& panel) {
  auto* dialog =
      VF_FORWARD_DIALOG(g_object_new(VF_TYPE_FORWARD_DIALOG, "transient-for", panel.window(),
                                     "destroy-with-parent", TRUE, nullptr));
  auto* asking = new Asking(panel, dialog);
  g_signal_connect_data(dialog, "destroy",
                        G_CALLBACK(+[](VfForwardDialog*, Asking* of) { delete of; }), asking,
                        nullptr, G_CONNECT_DEFAULT);
  gtk_window_present(GTK_WINDOW(dialog));
  gtk_widget_grab_focus(GTK_WIDGET(dialog->guest_port));
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
  asking->fill(form, Span::this_run);
}

void show_edit_dialog(Panel& panel, const Row& row) {
  const ForwardView& forward = std::get<ForwardRow>(row.content).forward;
  EditFlags from;
  (forward.live ? from.live : from.config) = true;
  panel.ask(
      row.source,
      [path = row.domain, identity = forward.definition, from](const Daemon& daemon) {
        return definition_in(daemon, path, identity, from);
      },
      [&panel, key = row.key, forward](const Result<ForwardDefinition>& definition) {
        if (!definition)
          return vf_window_fail(panel.window(), _("Cannot Edit the Forward"),
                                definition.error().message);
        const Row* now = panel.row(key);
        if (!now) return;  // it went meanwhile
        Asking* asking = open_dialog(panel);
        asking->offer_machines(now);
        asking->change(forward, *definition);
        asking->fill(form_of(*definition), forward.config ? Span::always : Span::this_run);
      });
}

}  // namespace vf::panel
