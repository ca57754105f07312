// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What listens in the guest and whose it is, for those who want to be told. Without any of them
// nothing is looked at, and nothing is kept.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guest_listener.h"
#include "guest/config.h"
#include "guest/loop.h"
#include "guest/process.h"
#include "guest/socket_table.h"
#include "guest/wake_up.h"

namespace vf::guest {

class Watch {
 public:
  static constexpr std::size_t max_listeners = 1024;

  class Subscriber {
   public:
    virtual ~Subscriber() = default;
    virtual bool wants_udp() const = 0;
    virtual void listens(const GuestListener& listener) = 0;
    virtual void gone(const ListenerKey& key) = 0;
    // Everything there is has been told; so many were left out.
    virtual void synced(std::uint32_t left_out) = 0;
    // fallback() says something else now.
    virtual void fallback_changed() = 0;
  };

  // Without `hints` as where the kernel gives none.
  Watch(Loop& loop, SocketTable& sockets, const Config& config, bool hints);
  ~Watch();

  // Tells everything at once, then changes. The subscriber must leave before it goes.
  void join(Subscriber& subscriber);
  void leave(Subscriber& subscriber);
  // It wants UDP now, or no more.
  void wants_changed(Subscriber& subscriber, bool wanted_udp_before);
  // The configuration is another one.
  void config_changed();

  // How late a change may be told; 0: at once.
  std::chrono::milliseconds fallback(bool udp) const;
  // For the log: "tracepoint", or why not.
  std::string wake_up_source() const;
  // How often the sockets were looked at.
  std::uint64_t looks() const { return looks_; }

 private:
  struct Entry {
    GuestListener listener;
    std::uint32_t inode = 0;
    int tries_left = 0;  // to find the process
  };
  // Tells when a process has ended.
  struct Owner final : Handler {
    void ready(std::uint32_t events) override;
    void stop();
    Watch* watch = nullptr;
    std::uint32_t pid = 0;
    Fd pidfd;
  };
  struct Call final : Timer {
    Call(Loop& loop, Watch& its_watch, void (Watch::*its_function)())
        : Timer(loop), watch(its_watch), function(its_function) {}
    void expired() override { (watch.*function)(); }
    Watch& watch;
    void (Watch::*function)();
  };
  using Found = std::map<ListenerKey, std::vector<BoundSocket>>;

  bool anybody_wants_udp() const;
  void begin();
  void ask_for_hints();
  void end();
  void hinted(const std::vector<SocketHint>& hints);
  void look_soon(std::chrono::microseconds delay);
  void look();
  void tick();
  Found dump(bool udp);
  void look_again_for_missing();
  void take(const Found& found);
  void name_processes(std::vector<Entry*>& nameless);
  void give_owner(Entry& entry, std::uint32_t pid, const ProcessText& text);
  void owner_ended(std::uint32_t pid);
  void drop_unused_owners();
  void refresh_owners();
  void refresh_sockets_of_first();
  void tell(const GuestListener& listener);
  void tell_gone(const ListenerKey& key);

  Loop& loop_;
  SocketTable& sockets_;
  const Config& config_;
  bool may_hint_;
  std::vector<Subscriber*> subscribers_;
  std::map<ListenerKey, Entry> told_;
  std::uint32_t left_out_ = 0;
  std::map<std::uint32_t, std::unique_ptr<Owner>> owners_;
  std::uint32_t refreshed_ = 0;  // the process that was looked at last
  std::unique_ptr<TcpWakeUp> tcp_;
  std::string no_wake_up_;
  std::vector<SocketHint> hints_;         // since the last look
  std::map<std::uint16_t, int> missing_;  // ports that were announced: times looked for
  Clock::time_point looked_{};
  Clock::time_point look_at_{};
  std::chrono::microseconds pause_{0};  // between looks, so that they take little of a processor
  int ticks_ = 0;
  std::chrono::seconds slept_{0};  // of the machine, since it began
  std::uint64_t looks_ = 0;
  Call look_timer_;
  Call tick_timer_;
};

}  // namespace vf::guest
