// SPDX-License-Identifier: LGPL-2.1-or-later
//
// usernet_watch URI DOMAIN [PROTOCOL:[ADDRESS:]PORT...]: a UsernetTunnels with a real libvirt, and
// these targets as its order while the domain runs. One line for each end whenever one changes:
//
//   end TARGET ADDRESS:PORT
//   end TARGET - REASON
//   ordered, forgotten
//
// SIGHUP is check(), SIGUSR1 forget() for good. SIGTERM ends it, as a daemon: rules stay.

#include <csignal>
#include <cstdio>
#include <map>

#include "glib/ref.h"
#include "glib/source.h"
#include "plugin/libvirt_host.h"
#include "transport/usernet_tunnels.h"

namespace vf {
namespace {

std::optional<TunnelTarget> parse_target(std::string_view word) {
  TunnelTarget target;
  const auto first = word.find(':'), last = word.rfind(':');
  if (first == std::string_view::npos) return std::nullopt;
  const auto protocol = parse<Protocol>(word.substr(0, first));
  target.port = Port::parse(word.substr(last + 1));
  if (!protocol || !target.port) return std::nullopt;
  target.protocol = *protocol;
  if (first == last) return target;
  target.address = IpAddress::parse(word.substr(first + 1, last - first - 1));
  return target.address ? std::optional(target) : std::nullopt;
}

class Watch final : LibvirtHost::Observer, TunnelLayer::Observer {
 public:
  Watch(const char* uri, std::string name, std::map<TunnelTarget, std::string> targets)
      : name_(std::move(name)), targets_(std::move(targets)), host_(uri, *this) {
    host_.start();
  }

  void check() { layer_.check(uuid_); }
  void forget() {
    forgotten_ = true;
    layer_.forget(uuid_);
    say("forgotten\n");
  }

 private:
  static void say(const std::string& text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }

  void resynced(const std::vector<DomainSnapshot>& domains) override {
    for (const DomainSnapshot& domain : domains)
      domain_changed(domain);
  }
  void domain_changed(const DomainSnapshot& domain) override {
    if (domain.name != name_) return;
    uuid_ = domain.uuid;
    if (!domain.active || forgotten_) return layer_.forget(uuid_);
    TunnelOrder order;
    order.uuid = uuid_;
    order.run = domain.id.value_or(0);
    for (const GuestInterface& interface : domain.interfaces)
      if (interface.type == "user" && interface.backend.empty())
        order.user_nets.push_back(interface.alias);
    for (const auto& [target, word] : targets_)
      order.targets.insert(target);
    layer_.order(std::move(order));
    say("ordered\n");
  }
  void domain_gone(const std::string& uuid) override { layer_.forget(uuid); }
  void addresses_changed(const std::string&, const std::vector<IpAddress>&) override {}
  void guest_reset(const std::string&) override {}
  void connection_changed(bool connected, const std::string&) override {
    if (connected && !uuid_.empty()) layer_.check(uuid_);
  }
  void tunnels_changed(Transport, const std::string& uuid) override {
    for (const auto& [target, end] : layer_.ends(uuid))
      say("end " + targets_[target] + ' ' + (end ? text(*end) : "- " + end.error().message) + '\n');
  }

  const std::string name_;
  std::map<TunnelTarget, std::string> targets_;
  std::string uuid_;
  bool forgotten_ = false;
  LibvirtHost host_;
  UsernetTunnels layer_{{[this](const std::string& uuid, std::string command,
                                std::function<void(Result<std::string>)> done) {
                          host_.human_monitor(uuid, std::move(command), std::move(done));
                        }},
                        *this};
};

int watch(int argc, char** argv) {
  std::map<TunnelTarget, std::string> targets;
  for (int i = 3; i < argc; ++i) {
    const auto target = parse_target(argv[i]);
    if (!target) return 2;
    targets.emplace(*target, argv[i]);
  }
  const auto loop = adopt(g_main_loop_new(nullptr, FALSE));
  Watch watch(argv[1], argv[2], std::move(targets));
  const Source quit = on_signal(SIGTERM, [&] { g_main_loop_quit(loop.get()); });
  const Source check = on_signal(SIGHUP, [&] { watch.check(); });
  const Source forget = on_signal(SIGUSR1, [&] { watch.forget(); });
  g_main_loop_run(loop.get());
  return 0;
}

}  // namespace
}  // namespace vf

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: usernet_watch URI DOMAIN [PROTOCOL:[ADDRESS:]PORT...]\n");
    return 2;
  }
  // As in every program that talks to a libvirtd, which may close its end at any time.
  std::signal(SIGPIPE, SIG_IGN);
  return vf::watch(argc, argv);
}
