// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <variant>

#include "base/guest_listener.h"

namespace vf {

// What listens in a guest as it says, against what the daemon was told. Changes of one socket that
// come faster than they are told are one change, so it is bounded whatever the guest says.
class ListenerLedger {
 public:
  static constexpr std::size_t max_listeners = 1024;

  // A whole account begins: what is not named until complete() is gone then. What was told stands.
  void begin();
  // Texts are made printable and cut, addresses of IPv4 in IPv6 are those of IPv4.
  void listens(GuestListener listener);
  void gone(ListenerKey key);
  // `left_out`: of sockets that the guest knows and does not name.
  void complete(std::uint32_t left_out);
  void all_udp_gone();
  // Nothing listens, nothing was told.
  void clear();

  struct Synced {};
  using News = std::variant<GuestListener, ListenerKey, Synced>;
  // What is to be told next; an account that is complete ends with Synced, and so do later changes.
  // Nothing, where all that has changed came and went unseen.
  std::optional<News> next();
  // That there may be something to tell.
  bool has_news() const { return !changed_.empty() || synced_is_due(); }

  // Whether an account is complete, though perhaps not told yet.
  bool is_complete() const { return complete_; }
  // Sockets that are not among these.
  std::uint32_t left_out() const;

  std::size_t size() const { return sockets_.size(); }

 private:
  static constexpr std::size_t max_sockets = 2 * max_listeners;  // with those that are gone

  struct Socket {
    GuestListener listener;
    bool listens = false;
    bool named = false;    // in this account
    bool told = false;     // that it listens, as `listener` says or otherwise
    bool changed = false;  // it is in `changed_`
  };
  using Sockets = std::map<ListenerKey, Socket>;

  void note(const ListenerKey& key, Socket& socket);
  void end(Sockets::iterator socket);
  bool synced_is_due() const { return complete_ && unsynced_ && changed_.empty(); }

  Sockets sockets_;
  std::deque<ListenerKey> changed_;  // each once
  std::size_t listening_ = 0;
  bool complete_ = false;
  bool unsynced_ = false;
  std::uint32_t refused_ = 0;   // since begin()
  std::uint32_t left_out_ = 0;  // by the guest
};

}  // namespace vf
