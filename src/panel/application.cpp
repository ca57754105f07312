// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/application.h"

#include <adwaita.h>
#include <glib/gi18n.h>

#include <clocale>
#include <string>
#include <vector>

#include "panel/actions.h"
#include "panel/panel.h"

namespace vf::panel {
namespace {

constexpr const char* application_id = "org.virtforward1.Panel";

// A window and what it shows.
struct Shown {
  explicit Shown(VfWindow* of, const std::vector<Panel::Where>& daemons, const std::string& domain)
      : panel(of, daemons, domain) {}
  Panel panel;
};

Shown* shown_in(GtkWindow* window) {
  return static_cast<Shown*>(g_object_get_data(G_OBJECT(window), "shown"));
}

std::vector<Panel::Where> daemons(const char* const* addresses) {
  std::vector<Panel::Where> where;
  for (; addresses && *addresses; ++addresses)
    where.emplace_back([address = std::string(*addresses)] { return instance_at(address); });
  if (where.empty()) where = {[] { return system_instance(); }, [] { return session_instance(); }};
  return where;
}

void present(GtkApplication* application, const std::string& domain, const char* const* addresses) {
  for (GList* one = gtk_application_get_windows(application); one; one = one->next) {
    auto* window = GTK_WINDOW(one->data);
    if (const Shown* shown = shown_in(window); shown && shown->panel.domain() == domain)
      return gtk_window_present(window);
  }
  VfWindow* window = vf_window_new(ADW_APPLICATION(application));
  auto* shown = new Shown(window, daemons(addresses), domain);
  g_object_set_data(G_OBJECT(window), "shown", shown);
  add_actions(shown->panel);
  g_signal_connect(window, "search-changed",
                   G_CALLBACK(+[](VfWindow*, Shown* of) { of->panel.search(); }), shown);
  // It uses the window's widgets, so it goes before them.
  g_signal_connect(window, "destroy", G_CALLBACK(+[](VfWindow* of, gpointer) {
                     delete static_cast<Shown*>(g_object_steal_data(G_OBJECT(of), "shown"));
                   }),
                   nullptr);
  gtk_window_present(GTK_WINDOW(window));
}

int command_line(GApplication* application, GApplicationCommandLine* line) {
  GVariantDict* options = g_application_command_line_get_options_dict(line);
  const gchar* domain = "";
  const gchar** addresses = nullptr;
  g_variant_dict_lookup(options, "domain", "&s", &domain);
  g_variant_dict_lookup(options, "address", "^a&s", &addresses);
  present(GTK_APPLICATION(application), domain, addresses);
  g_free(addresses);
  return 0;
}

void about(GSimpleAction*, GVariant*, gpointer application) {
  adw_show_about_window(gtk_application_get_active_window(GTK_APPLICATION(application)),
                        "application-name", _("Port Forwards"), "application-icon", application_id,
                        "developer-name", "virt-forward", "version", VF_VERSION, "license-type",
                        GTK_LICENSE_LGPL_2_1, "comments",
                        _("Shows and edits the port forwards of virtual machines"), nullptr);
}

void quit(GSimpleAction*, GVariant*, gpointer application) {
  while (GtkWindow* window = gtk_application_get_active_window(GTK_APPLICATION(application)))
    gtk_window_destroy(window);
}

void startup(GApplication* application) {
  const GActionEntry entries[] = {{"about", about, nullptr, nullptr, nullptr, {}},
                                  {"quit", quit, nullptr, nullptr, nullptr, {}}};
  g_action_map_add_action_entries(G_ACTION_MAP(application), entries, G_N_ELEMENTS(entries),
                                  application);
  add_accelerators(GTK_APPLICATION(application));
}

int local_options(GApplication*, GVariantDict* options, gpointer) {
  if (!g_variant_dict_contains(options, "version")) return -1;
  g_print("virt-forward-panel %s\n", VF_VERSION);
  return 0;
}

}  // namespace

int run(int argc, char** argv) {
  std::setlocale(LC_ALL, "");
  // As gettext(1) has it, for a program that is not installed.
  const char* directory = g_getenv("TEXTDOMAINDIR");
  bindtextdomain(GETTEXT_PACKAGE, directory ? directory : VF_LOCALE_DIRECTORY);
  bind_textdomain_codeset(GETTEXT_PACKAGE, "UTF-8");
  textdomain(GETTEXT_PACKAGE);

  const auto application =
      adopt(G_APPLICATION(adw_application_new(application_id, G_APPLICATION_HANDLES_COMMAND_LINE)));
  const GOptionEntry entries[] = {
      {"domain", 'd', 0, G_OPTION_ARG_STRING, nullptr, _("Show this machine alone"), _("NAME")},
      {"address", 0, 0, G_OPTION_ARG_STRING_ARRAY, nullptr,
       _("Ask the daemon at this D-Bus address; several times for several"), _("ADDRESS")},
      {"version", 'V', 0, G_OPTION_ARG_NONE, nullptr, _("Print the version"), nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  g_application_add_main_option_entries(application.get(), entries);
  g_signal_connect(application.get(), "startup", G_CALLBACK(startup), nullptr);
  g_signal_connect(application.get(), "handle-local-options", G_CALLBACK(local_options), nullptr);
  g_signal_connect(application.get(), "command-line", G_CALLBACK(command_line), nullptr);
  g_set_application_name(_("Port Forwards"));
  return g_application_run(application.get(), argc, argv);
}

}  // namespace vf::panel
