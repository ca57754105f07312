// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/listener_ledger.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/printable.h"

namespace vf {
namespace {

IpAddress plain(const IpAddress& address) {
  constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const auto bytes = address.bytes();
  if (address.is_v4() || !std::ranges::equal(bytes.first(mapped.size()), mapped)) return address;
  return *IpAddress::from_bytes(bytes.last(4));
}

}  // namespace

void ListenerLedger::begin() {
  for (auto& [key, socket] : sockets_)
    socket.named = false;
  complete_ = false;
  refused_ = 0;
}

void ListenerLedger::listens(GuestListener listener) {
  listener.key.address = plain(listener.key.address);
  listener.name = printable(listener.name, GuestListener::max_name_bytes);
  listener.command = printable(listener.command, GuestListener::max_command_bytes);
  listener.container = printable(listener.container, GuestListener::max_container_bytes);
  const auto found = sockets_.find(listener.key);
  const bool listens_already = found != sockets_.end() && found->second.listens;
  const bool full =
      listening_ >= max_listeners || (found == sockets_.end() && sockets_.size() >= max_sockets);
  if (!listens_already && full) {
    if (refused_ < std::numeric_limits<std::uint32_t>::max()) ++refused_;
    unsynced_ = true;
    return;
  }
  Socket& socket = sockets_[listener.key];
  socket.named = true;
  if (!std::exchange(socket.listens, true)) ++listening_;
  if (socket.told && socket.listener == listener) return;
  socket.listener = std::move(listener);
  note(socket.listener.key, socket);
}

void ListenerLedger::gone(ListenerKey key) {
  key.address = plain(key.address);
  const auto found = sockets_.find(key);
  if (found != sockets_.end()) return end(found);
  if (refused_ == 0) return;
  --refused_;
  unsynced_ = true;
}

void ListenerLedger::end(Sockets::iterator found) {
  Socket& socket = found->second;
  if (!std::exchange(socket.listens, false)) return;
  --listening_;
  if (socket.told || socket.changed)
    note(found->first, socket);
  else
    sockets_.erase(found);
}

void ListenerLedger::complete(std::uint32_t left_out) {
  unsynced_ = unsynced_ || !complete_ || left_out != left_out_;
  left_out_ = left_out;
  if (std::exchange(complete_, true)) return;
  for (auto next = sockets_.begin(); next != sockets_.end();) {
    const auto socket = next++;
    if (!socket->second.named) end(socket);
  }
}

void ListenerLedger::all_udp_gone() {
  for (auto next = sockets_.begin(); next != sockets_.end();) {
    const auto socket = next++;
    if (socket->first.udp) end(socket);
  }
}

void ListenerLedger::clear() {
  *this = {};
}

void ListenerLedger::note(const ListenerKey& key, Socket& socket) {
  if (!std::exchange(socket.changed, true)) changed_.push_back(key);
}

std::optional<ListenerLedger::News> ListenerLedger::next() {
  while (!changed_.empty()) {
    const ListenerKey key = changed_.front();
    changed_.pop_front();
    const auto found = sockets_.find(key);
    Socket& socket = found->second;
    socket.changed = false;
    if (socket.listens) {
      socket.told = unsynced_ = true;
      return socket.listener;
    }
    const bool told = socket.told;
    sockets_.erase(found);
    if (!told) continue;  // it came and went unseen
    unsynced_ = true;
    return key;
  }
  if (!synced_is_due()) return std::nullopt;
  unsynced_ = false;
  return Synced{};
}

std::uint32_t ListenerLedger::left_out() const {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(
      std::uint64_t{refused_} + left_out_, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace vf
