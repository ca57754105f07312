// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/forward_table.h"

#include <glib.h>

#include "daemon/journal.h"

namespace vf {
namespace {

constexpr int log_lines_per_minute = 240;

std::string host_text(const ForwardView& forward) {
  if (!forward.host_port || forward.host_addresses.empty()) return forward.host_socket;
  return Endpoint{forward.host_addresses.front(), *forward.host_port}.text();
}

std::string guest_text(const ForwardView& forward) {
  if (!forward.guest_port) return forward.guest_socket;
  if (!forward.guest_address) return std::to_string(forward.guest_port->number());
  return Endpoint{*forward.guest_address, *forward.guest_port}.text();
}

LogFields fields_of(const ForwardView& forward) {
  LogFields fields{{"domain", forward.domain},
                   {"forward", forward.id},
                   {"host", host_text(forward)},
                   {"guest", guest_text(forward)}};
  if (forward.transport) fields.emplace_back("transport", text(*forward.transport));
  if (!forward.reason.empty()) fields.emplace_back("reason", forward.reason);
  return fields;
}

LogLevel level_of(ForwardState state) {
  switch (state) {
    case ForwardState::port_busy:
    case ForwardState::denied:
    case ForwardState::failed:
      return LogLevel::warning;
    default:
      return LogLevel::info;
  }
}

// Whether a change belongs in the story: a retry time does not.
bool worth_a_line(const ForwardView& before, const ForwardView& after) {
  return before.state != after.state || before.live != after.live ||
         before.host_port != after.host_port || before.transport != after.transport ||
         before.guest_address != after.guest_address;
}

}  // namespace

std::vector<DomainView> ForwardTable::domains() const {
  std::vector<DomainView> views;
  for (const auto& [uuid, entry] : entries_)
    views.push_back(entry.view);
  return views;
}

std::vector<ForwardView> ForwardTable::forwards(const std::string& uuid) const {
  std::vector<ForwardView> views;
  if (const auto found = entries_.find(uuid); found != entries_.end())
    for (const auto& [id, view] : found->second.forwards)
      views.push_back(view);
  return views;
}

std::vector<PortView> ForwardTable::ports(const std::string& uuid) const {
  std::vector<PortView> views;
  if (const auto found = entries_.find(uuid); found != entries_.end())
    for (const auto& [id, view] : found->second.ports)
      views.push_back(view);
  return views;
}

const PortView* ForwardTable::port(const std::string& uuid, const std::string& id) const {
  const auto found = entries_.find(uuid);
  if (found == entries_.end()) return nullptr;
  const auto view = found->second.ports.find(id);
  return view == found->second.ports.end() ? nullptr : &view->second;
}

const DomainView* ForwardTable::domain(const std::string& uuid) const {
  const auto found = entries_.find(uuid);
  return found == entries_.end() ? nullptr : &found->second.view;
}

const ForwardView* ForwardTable::forward(const std::string& uuid, const std::string& id) const {
  const auto found = entries_.find(uuid);
  if (found == entries_.end()) return nullptr;
  const auto view = found->second.forwards.find(id);
  return view == found->second.forwards.end() ? nullptr : &view->second;
}

void ForwardTable::set_domain(const DomainView& domain, const std::vector<ForwardView>& forwards,
                              const std::vector<PortView>& ports) {
  const auto [position, fresh] = entries_.try_emplace(domain.uuid);
  Entry& entry = position->second;
  if (fresh || entry.view != domain) {
    for (const std::string& problem : domain.problems)
      if (fresh || entry.view.problems != domain.problems)
        log(LogLevel::warning, "metadata is wrong", {{"domain", domain.name}, {"reason", problem}});
    entry.view = domain;
    if (observer_) fresh ? observer_->domain_added(domain) : observer_->domain_changed(domain);
  }

  std::map<std::string, PortView> ports_before;
  ports_before.swap(entry.ports);
  for (const PortView& port : ports)
    entry.ports.emplace(port.id, port);
  for (const auto& [id, old] : ports_before)
    if (observer_ && !entry.ports.contains(id)) observer_->port_removed(old);

  std::map<std::string, ForwardView> before;
  before.swap(entry.forwards);
  for (const ForwardView& forward : forwards)
    entry.forwards.emplace(forward.id, forward);
  for (const auto& [id, old] : before)
    if (!entry.forwards.contains(id)) tell(entry, &old, nullptr);
  for (const auto& [id, now] : entry.forwards) {
    const auto old = before.find(id);
    if (old == before.end())
      tell(entry, nullptr, &now);
    else if (old->second != now)
      tell(entry, &old->second, &now);
  }

  for (const auto& [id, now] : entry.ports) {
    const auto old = ports_before.find(id);
    if (!observer_ || (old != ports_before.end() && old->second == now)) continue;
    old == ports_before.end() ? observer_->port_added(now) : observer_->port_changed(now);
  }
}

void ForwardTable::remove_domain(const std::string& uuid) {
  const auto found = entries_.find(uuid);
  if (found == entries_.end()) return;
  Entry gone = std::move(found->second);
  entries_.erase(found);
  for (const auto& [id, port] : gone.ports)
    if (observer_) observer_->port_removed(port);
  for (const auto& [id, forward] : gone.forwards)
    tell(gone, &forward, nullptr);
  if (observer_) observer_->domain_removed(gone.view);
}

void ForwardTable::set_libvirt_connected(bool connected, const std::string& reason) {
  const bool switched = std::exchange(libvirt_connected_, connected) != connected;
  const bool told = std::exchange(libvirt_reason_, reason) != reason;
  if ((switched || told) && observer_) observer_->daemon_changed();
}

void ForwardTable::set_relay_connected(bool connected) {
  if (std::exchange(relay_connected_, connected) != connected && observer_)
    observer_->daemon_changed();
}

void ForwardTable::tell(Entry& entry, const ForwardView* before, const ForwardView* after) {
  if (observer_) {
    if (!before)
      observer_->forward_added(*after);
    else if (!after)
      observer_->forward_removed(*before);
    else
      observer_->forward_changed(*after);
  }

  const auto silent = [](const ForwardView* view) {
    return !view || view->state == ForwardState::inactive ||
           (view->state == ForwardState::disabled && !view->live);
  };
  if ((silent(before) && silent(after)) || (before && after && !worth_a_line(*before, *after)))
    return;
  const std::int64_t minute = g_get_monotonic_time() / (60 * G_USEC_PER_SEC);
  if (std::exchange(entry.log_minute, minute) != minute) entry.log_lines = 0;
  if (++entry.log_lines > log_lines_per_minute) {
    if (entry.log_lines == log_lines_per_minute + 1)
      log(LogLevel::warning, "too many changes: the log is silent for a minute",
          {{"domain", entry.view.name}});
    return;
  }
  if (silent(after))
    log(LogLevel::info, "forward removed", fields_of(*before));
  else
    log(level_of(after->state), "forward " + std::string(text(after->state)), fields_of(*after));
}

}  // namespace vf
