// SPDX-License-Identifier: LGPL-2.1-or-later
//
// libvirt_watch URI: what a LibvirtHost reports, one line each, for tests with a real libvirtd:
//
//   TIME connection up | down REASON
//   TIME resynced COUNT
//   TIME domain NAME active|off serving|not-serving LIVE-BYTES CONFIG-BYTES INTERFACES
//   TIME gone UUID
//   TIME addresses UUID ADDRESS...
//
// TIME is CLOCK_MONOTONIC in microseconds. SIGTERM ends it with status 0.

#include <csignal>
#include <cstdio>

#include "glib/ref.h"
#include "glib/source.h"
#include "plugin/libvirt_host.h"

namespace vf {
namespace {

struct Printer final : LibvirtHost::Observer {
  template <typename... Values>
  static void line(const char* format, Values... values) {
    std::printf("%lld ", static_cast<long long>(g_get_monotonic_time()));
    std::printf(format, values...);
    std::printf("\n");
    std::fflush(stdout);
  }

  void resynced(const std::vector<DomainSnapshot>& domains) override {
    line("resynced %zu", domains.size());
    for (const DomainSnapshot& domain : domains)
      domain_changed(domain);
  }
  void domain_changed(const DomainSnapshot& domain) override {
    line("domain %s %s %s %zu %zu %zu", domain.name.c_str(), domain.active ? "active" : "off",
         domain.serving ? "serving" : "not-serving", domain.live_metadata.size(),
         domain.config_metadata.size(), domain.interfaces.size());
  }
  void domain_gone(const std::string& uuid) override { line("gone %s", uuid.c_str()); }
  void addresses_changed(const std::string& uuid,
                         const std::vector<IpAddress>& addresses) override {
    std::string text;
    for (const IpAddress& address : addresses)
      text += ' ' + address.text();
    line("addresses %s%s", uuid.c_str(), text.c_str());
  }
  void guest_reset(const std::string& uuid) override { line("reset %s", uuid.c_str()); }
  void connection_changed(bool connected, const std::string& reason) override {
    line("connection %s %s", connected ? "up" : "down", reason.c_str());
  }
};

int watch(const char* uri) {
  const auto loop = adopt(g_main_loop_new(nullptr, FALSE));
  const Source quit = on_signal(SIGTERM, [&] { g_main_loop_quit(loop.get()); });
  Printer printer;
  LibvirtHost host(uri, printer);
  host.start();
  g_main_loop_run(loop.get());
  return 0;
}

}  // namespace
}  // namespace vf

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: libvirt_watch URI\n");
    return 2;
  }
  // As in every program that talks to a libvirtd, which may close its end at any time.
  std::signal(SIGPIPE, SIG_IGN);
  return vf::watch(argv[1]);
}
