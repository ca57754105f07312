// SPDX-License-Identifier: LGPL-2.1-or-later
//
// As lines: JSON, or text for a terminal that can show no table.
//
// What is shown is a set: a forward that enters it is "added", one that leaves it "removed", so
// that the events and `list` always tell the same.

#include "client/watch.h"

#include <unistd.h>

#include <csignal>
#include <memory>

#include "base/printable.h"
#include "cli/daemons.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/verb.h"
#include "cli/watch_table.h"
#include "client/json.h"
#include "glib/source.h"

namespace vf {
namespace {

class Watching final : public Watch::Observer {
 public:
  Watching(WatchedDomains domains, bool all, bool json, bool color)
      : domains_(std::move(domains)),
        all_(all),
        json_(json),
        color_(color),
        loop_(adopt(g_main_loop_new(nullptr, FALSE))) {}

  int run(const std::vector<Daemon>& daemons) {
    for (const Daemon& daemon : daemons) {
      if (!is_watched(domains_, daemon)) continue;
      auto& watch = watches_.emplace_back(std::make_unique<Watch>(daemon, *this));
      if (const auto started = watch->start(); !started) return fail(started.error());
      for (const auto& [path, forward] : watch->forwards())
        forward_changed(daemon, path, nullptr, &forward);
      for (const auto& [path, port] : watch->ports())
        port_changed(daemon, path, nullptr, &port);
    }
    const Source interrupted = on_signal(SIGINT, [this] { end(0); });
    const Source terminated = on_signal(SIGTERM, [this] { end(0); });
    // A reader that went away is noticed though nothing happens that could be written.
    const Source unread = watch_fd(STDOUT_FILENO, static_cast<GIOCondition>(G_IO_ERR | G_IO_NVAL),
                                   [this](GIOCondition) { end(0); });
    if (!over_) g_main_loop_run(loop_.get());
    return status_;
  }

 private:
  void forward_changed(const Daemon& daemon, const std::string&, const ForwardView* before,
                       const ForwardView* after) override {
    const ForwardView& forward = after ? *after : *before;
    if (over_ || !is_watched(domains_, daemon, forward.uuid)) return;
    const bool was = before && is_shown(*before, all_);
    const bool is = after && is_shown(*after, all_);
    // What this output cannot say is no event in it: JSON has no word for "proven".
    if (was && is && event_text("changed", *before) == event_text("changed", *after)) return;
    if (was && is)
      tell("changed", *after);
    else if (is)
      tell("added", *after);
    else if (was)
      tell("removed", *before);
  }
  // What changes of a port is told as the port anew: "changed" is of forwards.
  void port_changed(const Daemon& daemon, const std::string&, const PortView* before,
                    const PortView* after) override {
    const PortView& port = after ? *after : *before;
    if (over_ || !is_watched(domains_, daemon, port.uuid)) return;
    const std::string line = event_text(after ? "detected" : "gone", port);
    if (before && after && line == event_text("detected", *before)) return;
    print(line);
    if (!flush()) end(0);
  }
  void domain_changed(const Daemon&, const std::string&, const DomainView*,
                      const DomainView*) override {}
  void daemon_lost(const Daemon& daemon) override {
    end(fail(
        {ErrorCode::no_daemon,
         daemon.instance().title + " went away; its forwards serve on, start it and watch again"}));
  }

  void tell(std::string_view event, const ForwardView& forward) {
    print(event_text(event, forward));
    if (!flush()) end(0);
  }

  std::string event_text(std::string_view event, const ForwardView& forward) const {
    return json_ ? json_event(event, forward) + '\n' : sentence(event, forward);
  }

  std::string event_text(std::string_view event, const PortView& port) const {
    if (json_) return json_event(event, port) + '\n';
    std::string word(event);
    word.resize(9, ' ');
    std::string state(text(port.state));
    if (color_) state = "\x1b[" + std::string(state_color(port.state)) + 'm' + state + "\x1b[0m";
    const bool named = port.process && !port.process->name.empty();
    std::string line = word + printable(port.domain) + "  " + printable(port.id) + "  " +
                       (named ? printable(port.process->name) : "-") + "  " + state;
    if (!port.reason.empty()) line += ": " + printable(port.reason);
    return line + '\n';
  }

  std::string sentence(std::string_view event, const ForwardView& forward) const {
    std::string word(event);
    word.resize(9, ' ');
    std::string state = state_words(forward, false);
    if (color_) state = "\x1b[" + std::string(state_color(forward)) + 'm' + state + "\x1b[0m";
    std::string line = word + printable(forward.domain) + "  " + printable(forward.id) + "  " +
                       printable(host_side(forward)) + " -> " + printable(guest_side(forward)) +
                       "  " + way(forward) + "  " + state;
    if (const std::string reason = reason_words(forward); !reason.empty())
      line += ": " + printable(reason);
    return line + '\n';
  }

  void end(int status) {
    if (over_) return;
    over_ = true;
    status_ = status;
    g_main_loop_quit(loop_.get());
  }

  const WatchedDomains domains_;
  const bool all_;
  const bool json_;
  const bool color_;
  Ref<GMainLoop> loop_;
  std::vector<std::unique_ptr<Watch>> watches_;
  bool over_ = false;
  int status_ = 0;
};

int run_watch(const Verb& verb, Call& call) {
  bool all = false;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.flag("all", 'a', all, "Also stopped domains, and what only the next start brings");
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 0, 10000)) return *over;
  const auto daemons =
      Daemons::open(call.globals, call.command_line, Daemons::Quiet::no, Daemons::Libvirt::awaited);
  if (!daemons) return fail(daemons.error());
  WatchedDomains domains;
  for (const std::string& name : positional) {
    const auto found = daemons->find(name);
    if (!found) return fail(found.error());
    domains.emplace_back(found->daemon, found->domain.uuid);
  }
  const bool json = call.globals.json || !stdout_is_terminal();
  const bool color = color_wanted(call.globals.color);
  if (!json)
    if (const auto status = watch_as_table(daemons->all(), domains, all, color)) return *status;
  return Watching(std::move(domains), all, json, color).run(daemons->all());
}

}  // namespace

const Verb watch_verb{
    "watch",
    "[DOMAIN…]",
    "Follow forwards as they come, change and go",
    "Shows the forwards as a table that follows every change; with --json or in a "
    "pipe, tells those\n"
    "there are as \"added\", then each change, as a line of JSON. Ends when "
    "interrupted (or q), and with\n"
    "status 7 when the daemon goes away.",
    false,
    run_watch};

}  // namespace vf
