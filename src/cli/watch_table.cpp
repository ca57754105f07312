// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/watch_table.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>

#include "cli/live_table.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/shown.h"
#include "client/watch.h"
#include "glib/source.h"

namespace vf {
namespace {

// Changes that come together are drawn together.
constexpr std::chrono::milliseconds redraw_delay{40};
constexpr std::chrono::milliseconds counting_interval{1000};

class TableWatching final : public Watch::Observer {
 public:
  TableWatching(const std::vector<Daemon>& daemons, const WatchedDomains& domains, bool all)
      : domains_(domains), all_(all), loop_(adopt(g_main_loop_new(nullptr, FALSE))) {
    for (const Daemon& daemon : daemons)
      if (is_watched(domains_, daemon)) watches_.push_back(std::make_unique<Watch>(daemon, *this));
  }

  // Reads what is there. An error is to be said before the screen is taken.
  Result<void> start() {
    for (const auto& watch : watches_) {
      if (auto started = watch->start(); !started) return started;
      for (const auto& [path, forward] : watch->forwards())
        forward_changed(watch->daemon(), path, nullptr, &forward);
    }
    return {};
  }

  std::optional<int> run(bool color) {
    // Before ncurses, which leaves signals alone that somebody handles.
    const Source interrupted = on_signal(SIGINT, [this] { end(); });
    const Source terminated = on_signal(SIGTERM, [this] { end(); });
    const Source resized = on_signal(SIGWINCH, [this] {
      screen_->resized();
      table_.fit();
      draw();
    });
    screen_ = Screen::open(color);
    if (!screen_) return std::nullopt;
    const Source gone =
        watch_fd(STDOUT_FILENO, static_cast<GIOCondition>(G_IO_ERR | G_IO_HUP | G_IO_NVAL),
                 [this](GIOCondition) { end(); });
    if (isatty(STDIN_FILENO) == 1)
      keys_ = watch_fd(STDIN_FILENO, static_cast<GIOCondition>(G_IO_IN | G_IO_HUP | G_IO_ERR),
                       [this](GIOCondition condition) { press(condition); });
    const Source counting = every(counting_interval, [this] { count(); });
    count();
    draw();
    if (!over_) g_main_loop_run(loop_.get());
    redraw_.reset();
    // Answers that are still due come to nobody else.
    for (const auto& request : requests_)
      g_cancellable_cancel(request.get());
    while (!requests_.empty())
      g_main_context_iteration(nullptr, TRUE);
    screen_.reset();
    return lost_ ? fail(*lost_) : 0;
  }

 private:
  void forward_changed(const Daemon& daemon, const std::string& path, const ForwardView* before,
                       const ForwardView* after) override {
    const ForwardView& forward = after ? *after : *before;
    if (!is_watched(domains_, daemon, forward.uuid)) return;
    const std::string key = key_of(daemon, path);
    if (after && is_shown(*after, all_))
      table_.set(key, name_of(daemon, forward), *after);
    else
      table_.remove(key);
    draw_soon();
  }
  void port_changed(const Daemon&, const std::string&, const PortView*, const PortView*) override {
    draw_soon();
  }
  void domain_changed(const Daemon&, const std::string&, const DomainView*,
                      const DomainView*) override {}
  void daemon_lost(const Daemon& daemon) override {
    lost_ = {
        ErrorCode::no_daemon,
        daemon.instance().title + " went away; its forwards serve on, start it and watch again"};
    end();
  }

  // Object paths are the same in each daemon.
  std::string key_of(const Daemon& daemon, const std::string& path) const {
    return watches_.size() > 1 ? daemon.uri() + ' ' + path : path;
  }

  std::string name_of(const Daemon& daemon, const ForwardView& forward) const {
    return watches_.size() > 1 ? forward.domain + " (" + daemon.uri() + ')' : forward.domain;
  }

  void count() {
    for (const auto& watch : watches_) {
      const Daemon& daemon = watch->daemon();
      if (std::any_of(asked_.begin(), asked_.end(),
                      [&](const auto* one) { return one == &daemon; }))
        continue;  // it is slow
      asked_.insert(&daemon);
      const auto request = adopt(g_cancellable_new());
      requests_.push_back(request);
      daemon.ask_counters(request.get(), [this, &daemon, request](auto counters) {
        asked_.erase(&daemon);
        std::erase_if(requests_, [&](const auto& one) { return one.get() == request.get(); });
        if (!counters) return;
        auto& of_daemon = counters_[&daemon];
        of_daemon.clear();
        for (auto& [path, values] : *counters)
          of_daemon.emplace(key_of(daemon, path), values);
        draw_soon();
      });
    }
  }

  void press(GIOCondition condition) {
    const auto page = static_cast<long>(screen_->height() > 3 ? screen_->height() - 3 : 1);
    Screen::Key key = screen_->key();
    if (key == Screen::Key::none && (condition & (G_IO_HUP | G_IO_ERR)) != 0) return end();
    for (; key != Screen::Key::none; key = screen_->key())
      switch (key) {
        case Screen::Key::quit:
          return end();
        case Screen::Key::up:
          table_.scroll(-1);
          break;
        case Screen::Key::down:
          table_.scroll(1);
          break;
        case Screen::Key::page_up:
          table_.scroll(-page);
          break;
        case Screen::Key::page_down:
          table_.scroll(page);
          break;
        case Screen::Key::home:
          table_.scroll(-1'000'000);
          break;
        case Screen::Key::end:
          table_.scroll(1'000'000);
          break;
        case Screen::Key::none:
        case Screen::Key::other:
          break;
      }
    draw();
  }

  void draw_soon() {
    if (screen_ && !redraw_) redraw_ = after(redraw_delay, [this] { draw(); });
  }

  void draw() {
    redraw_.reset();
    std::map<std::string, ForwardCounters> counters;
    for (const auto& [daemon, of_daemon] : counters_)
      counters.insert(of_daemon.begin(), of_daemon.end());
    table_.set_counters(std::move(counters));
    std::size_t not_forwarded = 0;
    std::size_t asking = 0;
    for (const auto& watch : watches_)
      for (const auto& [path, port] : watch->ports()) {
        if (!is_watched(domains_, watch->daemon(), port.uuid)) continue;
        if (port.state != DetectedState::forwarded) ++not_forwarded;
        if (port.state == DetectedState::asking) ++asking;
      }
    table_.set_ports(not_forwarded, asking);
    screen_->show(table_.show(screen_->width(), screen_->height()));
  }

  void end() {
    over_ = true;
    g_main_loop_quit(loop_.get());
  }

  const WatchedDomains& domains_;
  const bool all_;
  Ref<GMainLoop> loop_;
  LiveTable table_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::map<const Daemon*, std::map<std::string, ForwardCounters>> counters_;
  std::set<const Daemon*> asked_;
  std::vector<Ref<GCancellable>> requests_;
  std::unique_ptr<Screen> screen_;
  Source keys_;
  Source redraw_;
  bool over_ = false;
  std::optional<Error> lost_;
};

}  // namespace

bool is_watched(const WatchedDomains& domains, const Daemon& daemon, const std::string& uuid) {
  if (domains.empty()) return true;
  return std::any_of(domains.begin(), domains.end(), [&](const auto& one) {
    return one.first == &daemon && (uuid.empty() || one.second == uuid);
  });
}

std::optional<int> watch_as_table(const std::vector<Daemon>& daemons, const WatchedDomains& domains,
                                  bool all, bool color) {
  TableWatching watching(daemons, domains, all);
  if (const auto started = watching.start(); !started) return fail(started.error());
  return watching.run(color);
}

}  // namespace vf
