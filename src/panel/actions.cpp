// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/actions.h"

#include <glib/gi18n.h>

#include "panel/forward_dialog.h"
#include "panel/words.h"

namespace vf::panel {
namespace {

std::string format(const char* text, const std::string& argument) {
  return take_string(g_strdup_printf(text, argument.c_str()));
}

// The row that is meant, and a word about it where there is none.
const Row* meant(Panel& panel, GVariant* target) {
  const Row* row = panel.row(g_variant_get_string(target, nullptr));
  if (!row) vf_window_toast(panel.window(), _("Select a forward first"));
  return row;
}

const ForwardRow* meant_forward(Panel& panel, GVariant* target, const Row** holder = nullptr) {
  const Row* row = panel.row(g_variant_get_string(target, nullptr));
  const auto* forward = row ? std::get_if<ForwardRow>(&row->content) : nullptr;
  if (!forward) vf_window_toast(panel.window(), _("Select a forward first"));
  if (holder) *holder = row;
  return forward;
}

void copy(Panel& panel, GVariant* target) {
  const ForwardRow* forward = meant_forward(panel, target);
  if (!forward) return;
  const std::string address = url(forward->forward);
  if (address.empty())
    return vf_window_toast(panel.window(), _("This forward has no address at present"));
  gdk_clipboard_set_text(gtk_widget_get_clipboard(GTK_WIDGET(panel.window())), address.c_str());
  vf_window_toast(panel.window(), format(_("%s copied"), address));
}

void opened(GObject* window, GAsyncResult* result, gpointer) {
  GErrorOut error;
  if (!gtk_show_uri_full_finish(GTK_WINDOW(window), result, error.out()))
    vf_window_fail(VF_WINDOW(window), _("Cannot Open the Browser"), error.message());
}

void open(Panel& panel, GVariant* target) {
  const ForwardRow* forward = meant_forward(panel, target);
  if (!forward) return;
  const std::string address = url(forward->forward);
  if (!opens(address))
    return vf_window_toast(panel.window(),
                           _("No program is known for this address; copy it instead"));
  gtk_show_uri_full(GTK_WINDOW(panel.window()), address.c_str(), GDK_CURRENT_TIME, nullptr, opened,
                    nullptr);
}

// Says how an edit went.
auto told(Panel& panel, std::string done, std::string failed) {
  return [&panel, done = std::move(done), failed = std::move(failed)](Result<void> result) {
    if (result)
      vf_window_toast(panel.window(), done);
    else
      vf_window_fail(panel.window(), failed, result.error().message);
  };
}

struct ProtocolPort {
  Protocol protocol;
  Port port;
};

std::optional<ProtocolPort> guest_port(const Row& row) {
  if (const auto* forward = std::get_if<ForwardRow>(&row.content);
      forward && forward->forward.guest_port)
    return ProtocolPort{forward->forward.protocol, *forward->forward.guest_port};
  if (const auto* port = std::get_if<PortRow>(&row.content); port && port->port.port)
    return ProtocolPort{port->port.protocol, *port->port.port};
  return std::nullopt;
}

void set_blocked(Panel& panel, const Row& row, bool blocked) {
  const auto port = guest_port(row);
  if (!port) return vf_window_toast(panel.window(), _("Select a port first"));
  const std::string number = std::to_string(port->port.number());
  panel.ask(
      row.source,
      [domain = row.domain, port = *port, blocked](const Daemon& daemon) {
        return blocked ? daemon.block(domain, port.protocol, port.port, {})
                       : daemon.unblock(domain, port.protocol, port.port, {});
      },
      told(panel, format(blocked ? _("Port %s blocked") : _("Port %s unblocked"), number),
           format(blocked ? _("Cannot Block Port %s") : _("Cannot Unblock Port %s"), number)));
}

void block(Panel& panel, GVariant* target) {
  const Row* row = meant(panel, target);
  if (!row) return;
  const auto* forward = std::get_if<ForwardRow>(&row->content);
  if (forward && forward->forward.origin == Origin::metadata)
    return vf_window_toast(panel.window(), _("Somebody made this forward: remove it instead"));
  const auto* port = std::get_if<PortRow>(&row->content);
  set_blocked(panel, *row, !port || port->port.state != DetectedState::blocked);
}

// What a rule asks about.
void answer(Panel& panel, GVariant* target, bool always) {
  const Row* row = meant(panel, target);
  const auto* asked = row ? std::get_if<PortRow>(&row->content) : nullptr;
  if (!asked || !asked->port.port || asked->port.state != DetectedState::asking)
    return vf_window_toast(panel.window(), _("This port does not ask for permission"));
  const std::string number = std::to_string(asked->port.port->number());
  const std::string process =
      always && asked->port.process ? asked->port.process->name : std::string();
  panel.ask(
      row->source,
      [domain = row->domain, protocol = asked->port.protocol, port = *asked->port.port,
       process](const Daemon& daemon) { return daemon.allow(domain, protocol, port, process, {}); },
      told(panel, format(_("Port %s allowed"), number), format(_("Cannot Allow Port %s"), number)));
}

void disallow(Panel& panel, GVariant* target) {
  const Row* row = nullptr;
  const ForwardRow* forward = meant_forward(panel, target, &row);
  if (!forward || !forward->forward.guest_port) return;
  const std::string number = std::to_string(forward->forward.guest_port->number());
  panel.ask(
      row->source,
      [domain = row->domain, protocol = forward->forward.protocol,
       port = *forward->forward.guest_port](const Daemon& daemon) {
        return daemon.disallow(domain, protocol, port, {}, {});
      },
      told(panel, format(_("Port %s is not allowed any more"), number),
           format(_("Cannot Take the Permission of Port %s Back"), number)));
}

// Where the forward that is shown is defined.
EditFlags sides(const ForwardView& forward) {
  EditFlags flags;
  flags.live = forward.live;
  flags.config = forward.config;
  return flags;
}

const std::string& definition_of(const ForwardView& forward) {
  return forward.definition.empty() ? forward.id : forward.definition;
}

void remove_now(Panel& panel, std::size_t source, const std::string& domain,
                const ForwardView& forward) {
  panel.ask(
      source,
      [domain, identity = definition_of(forward), flags = sides(forward)](const Daemon& daemon) {
        return daemon.remove_forward(domain, identity, flags);
      },
      told(panel, _("Forward removed"), _("Cannot Remove the Forward")));
}

// Of the definition, that is of all its ports. Nothing is asked: it is as easily turned back.
void set_enabled(Panel& panel, const Row* row, const ForwardRow* forward, bool enable) {
  if (forward->forward.origin == Origin::automatic)
    return vf_window_toast(panel.window(),
                           _("This forward came by itself: block its port instead"));
  panel.ask(
      row->source,
      [domain = row->domain, identity = definition_of(forward->forward),
       flags = sides(forward->forward), enable](const Daemon& daemon) -> Result<void> {
        const auto changed =
            daemon.change_forward(domain, identity, {{"enabled", enable ? "" : "no"}}, flags);
        if (!changed) return Unexpected(changed.error());
        return {};
      },
      told(panel, enable ? _("Forward enabled") : _("Forward disabled"),
           enable ? _("Cannot Enable the Forward") : _("Cannot Disable the Forward")));
}

void enable(Panel& panel, GVariant* target) {
  const Row* row = nullptr;
  if (const ForwardRow* forward = meant_forward(panel, target, &row))
    set_enabled(panel, row, forward, true);
}

void disable(Panel& panel, GVariant* target) {
  const Row* row = nullptr;
  if (const ForwardRow* forward = meant_forward(panel, target, &row))
    set_enabled(panel, row, forward, false);
}

// What a key does: a menu that has been open for a while means what it says.
void turn_on_or_off(Panel& panel, GVariant* target) {
  const Row* row = nullptr;
  if (const ForwardRow* forward = meant_forward(panel, target, &row))
    set_enabled(panel, row, forward, forward->forward.state == ForwardState::disabled);
}

struct Removal {
  Panel* panel;
  std::size_t source;
  std::string domain;
  ForwardView forward;
};

void removal_answered(AdwMessageDialog*, const char* response, Removal* removal) {
  if (g_str_equal(response, "remove"))
    remove_now(*removal->panel, removal->source, removal->domain, removal->forward);
}

void remove(Panel& panel, GVariant* target) {
  const Row* row = nullptr;
  const ForwardRow* forward = meant_forward(panel, target, &row);
  if (!forward) return;
  if (forward->forward.origin == Origin::automatic)
    return vf_window_toast(panel.window(),
                           _("This forward came by itself: block its port instead"));
  const std::string body =
      forward->counters && forward->counters->connections > 0
          ? take_string(g_strdup_printf(
                ngettext("Its %llu open connection ends.", "Its %llu open connections end.",
                         forward->counters->connections),
                static_cast<unsigned long long>(forward->counters->connections)))
      : forward->forward.config
          ? std::string(_("It does not come back at the next start of the machine."))
          : std::string();
  GtkWidget* dialog = adw_message_dialog_new(
      GTK_WINDOW(panel.window()), format(_("Remove “%s”?"), title(forward->forward)).c_str(),
      body.c_str());
  auto* message = ADW_MESSAGE_DIALOG(dialog);
  adw_message_dialog_add_responses(message, "cancel", _("_Cancel"), "remove", _("_Remove"),
                                   nullptr);
  adw_message_dialog_set_response_appearance(message, "remove", ADW_RESPONSE_DESTRUCTIVE);
  adw_message_dialog_set_close_response(message, "cancel");
  adw_message_dialog_set_default_response(message, "remove");
  auto* removal = new Removal{&panel, row->source, row->domain, forward->forward};
  g_signal_connect_data(
      dialog, "response", G_CALLBACK(removal_answered), removal,
      [](gpointer data, GClosure*) { delete static_cast<Removal*>(data); }, G_CONNECT_DEFAULT);
  gtk_window_present(GTK_WINDOW(dialog));
}

void set_automatic(Panel& panel, GVariant* target) {
  const gchar* key = nullptr;
  gboolean on = FALSE;
  g_variant_get(target, "(&sb)", &key, &on);
  const Row* row = panel.row(key);
  if (!row) return;
  const std::string name = std::get<DomainRow>(row->content).domain.name;
  panel.ask(
      row->source,
      [domain = row->domain, on](const Daemon& daemon) {
        return daemon.set_automatic(domain, on ? AutoMode::yes : AutoMode::no, {});
      },
      told(panel,
           format(on ? _("Ports of “%s” are forwarded by themselves")
                     : _("Ports of “%s” are no longer forwarded by themselves"),
                  name),
           _("Cannot Change Automatic Forwarding")));
}

void add(Panel& panel, GVariant* target) {
  const std::string key = g_variant_get_string(target, nullptr);
  const Row* row = panel.row(key);
  show_add_dialog(panel, row ? row : nullptr, std::nullopt, Protocol::tcp);
}

void forward(Panel& panel, GVariant* target) {
  const Row* row = meant(panel, target);
  if (!row) return;
  const auto port = guest_port(*row);
  if (port) show_add_dialog(panel, row, port->port, port->protocol);
}

void edit(Panel& panel, GVariant* target) {
  const Row* row = nullptr;
  const ForwardRow* forward = meant_forward(panel, target, &row);
  if (!forward) return;
  if (forward->forward.origin == Origin::automatic)
    return vf_window_toast(panel.window(),
                           _("This forward came by itself; add one of your own for its port"));
  show_edit_dialog(panel, *row);
}

// Made when it is asked for: GTK 4.8 ends the program when an accessibility client asks for a
// window that has just closed, and the last there is has never been shown.
void shortcuts(Panel& panel, GVariant*) {
  GtkBuilder* builder = gtk_builder_new_from_resource("/org/virtforward1/Panel/ui/help-overlay.ui");
  auto* window = GTK_WINDOW(gtk_builder_get_object(builder, "help_overlay"));
  gtk_window_set_transient_for(window, GTK_WINDOW(panel.window()));
  gtk_window_set_destroy_with_parent(window, TRUE);
  gtk_window_present(window);
  g_object_unref(builder);
}

struct Entry {
  const char* name;
  const char* type;  // of the target; null: none
  void (*run)(Panel&, GVariant*);
};

constexpr Entry entries[] = {
    {"copy", "s", copy},
    {"open", "s", open},
    {"block", "s", block},
    {"unblock", "s", block},
    {"allow", "s", [](Panel& panel, GVariant* target) { answer(panel, target, false); }},
    {"allow-process", "s", [](Panel& panel, GVariant* target) { answer(panel, target, true); }},
    {"disallow", "s", disallow},
    {"remove", "s", remove},
    {"edit", "s", edit},
    {"enable", "s", enable},
    {"disable", "s", disable},
    {"turn-on-or-off", "s", turn_on_or_off},
    {"forward", "s", forward},
    {"add", "s", add},
    {"automatic", "(sb)", set_automatic},
    {"shortcuts", nullptr, shortcuts},
    {"retry", nullptr, [](Panel& panel, GVariant*) { panel.retry(); }},
    {"close", nullptr,
     [](Panel& panel, GVariant*) { gtk_window_close(GTK_WINDOW(panel.window())); }},
};

}  // namespace

void add_actions(Panel& panel) {
  for (const Entry& entry : entries) {
    GSimpleAction* action =
        g_simple_action_new(entry.name, entry.type ? G_VARIANT_TYPE(entry.type) : nullptr);
    g_object_set_data(G_OBJECT(action), "panel", &panel);
    g_signal_connect(action, "activate",
                     G_CALLBACK(+[](GSimpleAction* self, GVariant* target, gpointer run) {
                       auto* of = static_cast<Panel*>(g_object_get_data(G_OBJECT(self), "panel"));
                       reinterpret_cast<void (*)(Panel&, GVariant*)>(run)(*of, target);
                     }),
                     reinterpret_cast<gpointer>(entry.run));
    g_action_map_add_action(G_ACTION_MAP(panel.window()), G_ACTION(action));
    g_object_unref(action);
  }
}

void add_accelerators(GtkApplication* application) {
  const auto keys = [application](const char* action, const char* key) {
    const char* const list[] = {key, nullptr};
    gtk_application_set_accels_for_action(application, action, list);
  };
  keys("win.add::", "<Primary>n");
  keys("win.search", "<Primary>f");
  keys("win.shortcuts", "<Primary>question");
  keys("win.close", "<Primary>w");
  keys("app.quit", "<Primary>q");
}

}  // namespace vf::panel
