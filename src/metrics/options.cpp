// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/options.h"

#include "base/printable.h"
#include "glib/ref.h"

namespace vf {
namespace {

Unexpected wrong(const std::string& what) {
  return Unexpected(ErrorCode::invalid_argument, what + ", see virt-forward-metrics --help");
}

using FindInstance = std::function<Instance()>;

Result<FindInstance> instance_of(const std::string& uri, const std::string& address) {
  if (!address.empty()) return FindInstance([address] { return instance_at(address); });
  if (uri.empty() || uri == "qemu:///system") return FindInstance(system_instance);
  if (uri == "qemu:///session") return FindInstance([] { return session_instance(); });
  return wrong("--connect is \"" + printable(uri) +
               "\"; allowed are qemu:///system and qemu:///session");
}

}  // namespace

Result<MetricsOptions> parse_metrics_options(std::vector<std::string> arguments) {
  gchar** listen = nullptr;
  gchar *connect = nullptr, *address = nullptr, *detail = nullptr;
  gboolean once = FALSE, version = FALSE;
  const GOptionEntry entries[] = {
      {"listen", 'l', 0, G_OPTION_ARG_FILENAME_ARRAY, &listen,
       "Serve at a unix socket's path, 127.0.0.1:PORT or [::1]:PORT; may be repeated", "PLACE"},
      {"once", 0, 0, G_OPTION_ARG_NONE, &once,
       "Print the metrics, of each forward by itself, and exit", nullptr},
      {"detail", 0, 0, G_OPTION_ARG_STRING, &detail,
       "Tell apart: host (nothing), domain (the default) or forward", "WORD"},
      {"connect", 'c', 0, G_OPTION_ARG_STRING, &connect,
       "The daemon of this libvirt connection: qemu:///system, qemu:///session", "URI"},
      {"address", 0, 0, G_OPTION_ARG_STRING, &address, "The daemon at this D-Bus address",
       "ADDRESS"},
      {"version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version and exit", nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  std::vector<gchar*> argv;
  for (std::string& argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  gchar** cursor = argv.data();
  int count = static_cast<int>(arguments.size());
  GOptionContext* const context = g_option_context_new(nullptr);
  g_option_context_set_summary(context,
                               "Serves the metrics of virt-forwardd in Prometheus's text format.");
  g_option_context_add_main_entries(context, entries, nullptr);
  GErrorOut error;
  const gboolean parsed = g_option_context_parse(context, &count, &cursor, error.out());
  g_option_context_free(context);

  MetricsOptions options;
  for (gchar** at = listen; at && *at; ++at)
    options.listen.emplace_back(*at);
  g_strfreev(listen);
  const std::string uri = take_string(connect);
  const std::string bus = take_string(address);
  const std::string word = take_string(detail);
  options.once = once != FALSE;
  options.version = version != FALSE;
  if (!parsed) return wrong(error.message());
  if (count > 1) return wrong("it takes no arguments");

  auto instance = instance_of(uri, bus);
  if (!instance) return Unexpected(std::move(instance).error());
  options.instance = std::move(*instance);
  if (options.once) options.detail = Detail::forward;
  if (!word.empty()) {
    const auto known = parse_detail(word);
    if (!known)
      return wrong("--detail is \"" + printable(word) + "\"; allowed are host, domain and forward");
    // Totals are of what is counted while it runs.
    if (options.once && *known != Detail::forward)
      return wrong("--once knows no totals: --detail can be forward only");
    options.detail = *known;
  }
  if (options.once && !options.listen.empty()) return wrong("--once does not listen");
  return options;
}

}  // namespace vf
