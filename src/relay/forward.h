// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "relay/agent_access.h"
#include "relay/context.h"
#include "relay/listener.h"
#include "relay/loop.h"
#include "wire/relay.h"

namespace vf {

// What all threads of the relay know together of one domain's forwards.
struct DomainShare {
  std::atomic<std::uint32_t> connections{0};
  AgentAccess agent;
};

// Which endpoint of its target a connection of a forward tries first: behind one that failed, or
// the one that worked where one before it did not. Now and then one connection tries the first
// again, the rarer the more often that was in vain. Any thread.
class EndpointPreference {
 public:
  static constexpr gint64 shortest_pause = 10 * G_USEC_PER_SEC;
  static constexpr gint64 longest_pause = 160 * G_USEC_PER_SEC;

  // `now` as g_get_monotonic_time().
  std::uint32_t first(std::size_t endpoints, gint64 now);
  void worked(std::size_t endpoint, gint64 now);
  // Not the last of them.
  void failed(std::size_t endpoint, std::size_t endpoints, gint64 now);
  void forget();

 private:
  std::atomic<std::uint32_t> preferred_{0};
  std::atomic<gint64> until_{0};
  std::atomic<gint64> pause_{shortest_pause};
  std::atomic<bool> trying_again_{false};  // the first
};

// What all threads of the relay know together of one forward.
struct ForwardShare {
  std::atomic<std::uint32_t> connections{0};
  std::atomic<bool> proven{false};
  std::atomic<std::uint8_t> endpoint{0};  // that the daemon was told
  EndpointPreference preference;
  std::shared_ptr<DomainShare> domain = std::make_shared<DomainShare>();
  void new_target() {
    proven = false;
    preference.forget();
  }
  std::atomic<bool> cut{false};  // removed: connections on their way between threads end as well
};

// One thread's part of a forward: its sockets and what goes through them.
class Forward : private Timer {
 public:
  // `on_drained` comes when it neither listens nor has a connection, and may retire it.
  using OnDrained = std::function<void(Forward&)>;
  static std::unique_ptr<Forward> create(RelayContext& context, RelayForward definition,
                                         std::shared_ptr<ForwardShare> share,
                                         std::vector<Listener::Socket> listeners,
                                         OnDrained on_drained);
  // True for a socket that a forward of this kind can take clients from.
  static bool serves(RelayProtocol protocol, int fd);

  // Not another protocol. Connections that exist go on where they go.
  virtual void redefine(RelayForward definition);
  virtual void replace_listeners(std::vector<Listener::Socket> listeners) = 0;
  virtual void stop_listening() = 0;
  // Ends all connections.
  virtual void cut() = 0;
  virtual bool drained() const = 0;
  // Ends what went through an earlier life of the guest's agent.
  virtual void cut_outlived() {}

  const std::string& key() const { return definition_->key; }
  const RelayForward& definition() const { return *definition_; }
  const ForwardShare* share() const { return share_.get(); }
  RelayCounters counters() const;

 protected:
  Forward(RelayContext& context, RelayForward definition, std::shared_ptr<ForwardShare> share,
          OnDrained on_drained);

  // The words for the guest's answer or the lack of it. An event a second, not one for each
  // connection to a guest that flickers; the last word is told.
  void reached(std::size_t endpoint);
  void missed(int error_number);
  // Once a second at most.
  bool may_tell(gint64& told) const;
  void tell_drained();

  RelayContext& context_;
  std::shared_ptr<const RelayForward> definition_;
  std::shared_ptr<ForwardShare> share_;
  OnDrained on_drained_;
  RelayCounters counters_;  // without the key

 private:
  void expired() override;  // the second after a told failure is over
  void tell_proven(std::size_t endpoint);
  void tell_failing(int error_number);

  gint64 told_proven_ = 0;
  std::optional<std::size_t> untold_endpoint_;
  gint64 told_failing_ = 0;
  int untold_failure_ = 0;  // errno of the last connection, where it came too soon to be told
};

}  // namespace vf
