// SPDX-License-Identifier: LGPL-2.1-or-later

#include "notify/daemon_link.h"

#include <algorithm>

#include "core/auto_rules.h"
#include "glib/object_path.h"

namespace vf {
namespace {

constexpr std::chrono::seconds longest_delay{30};
constexpr std::chrono::seconds most_patience{3};

}  // namespace

DaemonLink::DaemonLink(Find find, std::optional<GBusType> bus, Listener& listener)
    : find_(std::move(find)), name_(find_().title), listener_(listener) {
  timer_ = on_idle([this] { connect(); });
  if (bus) watch_name(*bus);
}

DaemonLink::~DaemonLink() {
  if (name_watch_ != 0) g_bus_unwatch_name(name_watch_);
}

// Where there is no such bus now, the timer finds the daemon once there is.
void DaemonLink::watch_name(GBusType bus) {
  GErrorOut error;
  bus_ = adopt(g_bus_get_sync(bus, nullptr, error.out()));
  if (!bus_) return;
  // The end of a bus is no reason to end; the session's ends the session.
  g_dbus_connection_set_exit_on_close(bus_.get(), bus == G_BUS_TYPE_SESSION);
  name_watch_ = g_bus_watch_name_on_connection(bus_.get(), bus_name, G_BUS_NAME_WATCHER_FLAGS_NONE,
                                               on_name_appeared, nullptr, this, nullptr);
}

void DaemonLink::on_name_appeared(GDBusConnection*, const gchar*, const gchar*,
                                  gpointer data) noexcept {
  auto* self = static_cast<DaemonLink*>(data);
  self->delay_ = std::chrono::seconds(1);
  if (!self->watch_ && !self->dropping_) self->timer_ = on_idle([self] { self->connect(); });
}

void DaemonLink::connect() {
  timer_.reset();
  if (watch_) return;
  Instance instance = find_();
  // One that accepts and says nothing holds everything else up meanwhile.
  instance.patience = std::min(instance.patience, most_patience);
  auto daemon = Daemon::connect(instance);
  Error problem = daemon ? Error{} : daemon.error();
  if (daemon) {
    daemon_ = std::make_unique<Daemon>(std::move(*daemon));
    Watch::Observer& observer = *this;
    watch_ = std::make_unique<Watch>(*daemon_, observer);
    if (const auto started = watch_->start(); !started) {
      problem = started.error();
      watch_.reset();
      daemon_.reset();
    }
  }
  if (!watch_) {
    if (!problem.message.empty() && problem.message != told_problem_)
      g_printerr("virt-forward-notify: %s\n", problem.message.c_str());
    told_problem_ = problem.message;
    retry_later();
    return;
  }
  delay_ = std::chrono::seconds(1);
  told_problem_.clear();
  for (const auto& [path, port] : watch_->ports())
    look_at(path);
  first_ = false;
  if (!known_.empty()) forgetting_ = after(patience, [this] { forget_missing(); });
}

void DaemonLink::retry_later() {
  timer_ = after(delay_, [this] { connect(); });
  delay_ = std::min(delay_ * 2, longest_delay);
}

void DaemonLink::daemon_lost(const Daemon&) {
  forgetting_.reset();
  // Not from within a call of the watch's.
  dropping_ = on_idle([this] {
    watch_.reset();
    daemon_.reset();
    retry_later();
    dropping_.reset();
  });
}

void DaemonLink::forget_missing() {
  forgetting_.reset();
  std::vector<std::string> missing;
  for (const auto& [path, kind] : known_)
    if (!watch_->ports().contains(path)) missing.push_back(path);
  for (const std::string& path : missing)
    look_at(path);
}

void DaemonLink::forward_changed(const Daemon&, const std::string&, const ForwardView* before,
                                 const ForwardView* after) {
  const ForwardView& forward = after ? *after : *before;
  if (forward.origin != Origin::automatic || !forward.id.starts_with(automatic_prefix)) return;
  const std::string port = port_path(forward.uuid, forward.id.substr(automatic_prefix.size()));
  // A daemon that came back shows what its relay serves before the guest tells of it again.
  if (forgetting_ && !watch_->ports().contains(port)) return;
  look_at(port);
}

void DaemonLink::port_changed(const Daemon&, const std::string& path, const PortView*,
                              const PortView*) {
  look_at(path);
}

// A forward is news when it serves, and stays so while it is there.
std::optional<News::Kind> DaemonLink::kind_of(const PortView& port,
                                              std::optional<News::Kind> before,
                                              std::string& url) const {
  if (port.state == DetectedState::asking) return News::Kind::asking;
  if (port.state != DetectedState::forwarded || !port.forward.starts_with(automatic_prefix))
    return std::nullopt;
  const auto forward = watch_->forwards().find(forward_path(port.uuid, port.forward));
  if (forward == watch_->forwards().end()) return std::nullopt;
  const bool serves = forward->second.state == ForwardState::active && !forward->second.url.empty();
  if (!serves && before != News::Kind::forwarded) return std::nullopt;
  url = forward->second.url;
  return News::Kind::forwarded;
}

void DaemonLink::look_at(const std::string& path) {
  const auto found = watch_->ports().find(path);
  const PortView* port = found == watch_->ports().end() ? nullptr : &found->second;
  const auto known = known_.find(path);
  const auto before = known == known_.end() ? std::nullopt : std::optional(known->second);
  std::string url;
  const auto kind = port && port->port ? kind_of(*port, before, url) : std::nullopt;
  if (kind == before) return;
  News news;
  news.daemon = name();
  news.path = path;
  if (before) {
    known_.erase(known);
    listener_.port_gone(news.key());
  }
  if (!kind) return;
  known_[path] = *kind;
  if (first_) return;
  news.kind = *kind;
  news.domain_path = domain_path(port->uuid);
  news.domain = port->domain;
  news.protocol = port->protocol;
  news.port = *port->port;
  if (port->process) news.process = port->process->name;
  news.url = std::move(url);
  news.notify = port->notify;
  news.open = port->open;
  listener_.port_seen(news);
}

}  // namespace vf
