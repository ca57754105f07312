// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-metrics: what virt-forwardd tells, for Prometheus. A program of its own, without a
// privilege, so that nothing which speaks HTTP runs in the daemon.

#include <systemd/sd-daemon.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <list>
#include <string>
#include <vector>

#include "glib/ref.h"
#include "glib/source.h"
#include "metrics/exporter.h"
#include "metrics/exposition.h"
#include "metrics/http_server.h"
#include "metrics/listening.h"
#include "metrics/options.h"

namespace {

using namespace vf;

void log_line(const std::string& line) {
  std::fprintf(stderr, "virt-forward-metrics: %s\n", line.c_str());
}

int fail(const Error& error) {
  log_line(error.message);
  return exit_status(error.code);
}

int print_once(const MetricsOptions& options) {
  const Reading reading = read_daemon(options.instance());
  if (!reading.failure && !reading.problem.empty()) log_line(reading.problem);
  const std::string text = exposition(reading.snapshot, options.detail, {});
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) return fail(system_error(errno, "write"));
  return reading.failure ? fail(*reading.failure) : 0;
}

int serve(const MetricsOptions& options) {
  auto listeners = inherited_listeners();
  if (!listeners) return fail(listeners.error());
  for (const std::string& place : options.listen) {
    auto listening = listen_at(place);
    if (!listening) return fail(listening.error());
    listeners->push_back(std::move(*listening));
  }
  if (listeners->empty())
    return fail({ErrorCode::invalid_argument,
                 "nothing to serve: give --listen or --once, or start it by "
                 "virt-forward-metrics.socket"});

  Exporter exporter([&] { return read_daemon(options.instance()); }, options.detail, log_line);
  const Ref<GMainLoop> loop = adopt(g_main_loop_new(nullptr, FALSE));
  const auto stop = [&loop] { g_main_loop_quit(loop.get()); };
  const Source on_term = on_signal(SIGTERM, stop);
  const Source on_interrupt = on_signal(SIGINT, stop);
  std::list<HttpServer> servers;
  for (Listening& listening : *listeners) {
    auto server = HttpServer::start(std::move(listening), [&exporter] { return exporter.text(); });
    if (!server) return fail(server.error());
    servers.push_back(std::move(*server));
  }
  sd_notify(0, "READY=1");
  g_main_loop_run(loop.get());
  sd_notify(0, "STOPPING=1");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::setlocale(LC_ALL, "");
  const auto options = parse_metrics_options({argv, argv + argc});
  if (!options) return fail(options.error());
  if (options->version) {
    std::printf("virt-forward-metrics %s\n", VF_VERSION);
    return 0;
  }
  return options->once ? print_once(*options) : serve(*options);
}
