// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "flow/flow.h"
#include "relay/agent_call.h"
#include "relay/context.h"
#include "relay/loop.h"
#include "wire/relay.h"

namespace vf {

inline constexpr std::chrono::seconds connect_timeout{5};
// Where an agent is asked as the last way: longer than it tries for itself (10 s), so that its
// answer comes.
inline constexpr std::chrono::seconds agent_answer_timeout{15};
// As long as there is another endpoint to try: a client does not wait long for a way that is dead.
inline constexpr std::chrono::seconds next_way_timeout{1};

struct ForwardShare;

// What goes with a connection that changes lanes. Two descriptors of the budget come with it.
struct MovingConnection {
  std::shared_ptr<const RelayForward> forward;
  std::shared_ptr<ForwardShare> share;
  Fd client;
  Fd guest;
  Flow flow;                       // holds nothing
  std::uint32_t idle_timeout = 0;  // seconds; 0: none
  gint64 active = 0;               // when bytes were last carried
  std::uint64_t agent_life = 0;    // AgentAccess::life(); 0: no agent carries it

  // Nobody carries it any more.
  void reset();
};

// A client's connection and the one to the guest that is made for it. Until the guest answers
// nothing is read from the client: what it sends early stays in its socket. To a guest's agent some
// of it is said along with the request, and taken out of the socket when that was granted; but not
// where another endpoint would be tried next, for then it might arrive twice.
//
// On an agent's connection each end is said by shutdown(SHUT_WR); close() alone is a reset.
class Connection final : private FlowIo, private Task, private Timer {
 public:
  // What becomes of a connection, told to its forward. ended() comes once and last.
  class Owner {
   public:
    virtual ~Owner() = default;
    // By the endpoint at this place in the target's list.
    virtual void reached_guest(std::size_t endpoint) = 0;
    virtual void missed_guest(int error_number) = 0;
    virtual void carried(std::uint64_t to_guest, std::uint64_t to_client) = 0;
    // It fits the other lane better: take_apart() it.
    virtual void changes_lane(Connection& connection) = 0;
    virtual void ended(Connection& connection) = 0;
  };
  using Place = std::list<std::unique_ptr<Connection>>::iterator;

  // Takes two descriptors of the budget that the caller has set aside.
  Connection(RelayContext& context, Owner& owner, std::shared_ptr<const RelayForward> forward,
             std::shared_ptr<ForwardShare> share, Fd client);
  // One that comes from the other lane.
  Connection(RelayContext& context, Owner& owner, MovingConnection moved);
  ~Connection() override;

  // Begins to connect, or goes on; may end the connection.
  void start();
  // Nothing may be called afterwards. The caller fills in the forward.
  MovingConnection take_apart();
  // Resets both sides and ends.
  void cut() { end(true); }
  // Whether an agent carries it that is not the one of this life.
  bool outlived(std::uint64_t life) const { return agent_life_ != 0 && agent_life_ != life; }

  Place place;  // in its owner's list

 private:
  enum class State : std::uint8_t { connecting, asking, flowing, moved, ended };

  // One of the two descriptors, as the loop sees it.
  struct End final : Handler {
    End(Connection& its_connection, Side its_side) : connection(its_connection), side(its_side) {}
    void ready(std::uint32_t events) override { connection.ready(side, events); }
    Connection& connection;
    Fd fd;
    Side side;
  };

  ssize_t read(Side side, std::span<std::uint8_t> into) override;
  ssize_t write(Side side, std::span<const std::uint8_t> from) override;
  ssize_t read(Side side, Pipe& into, std::size_t most) override;
  ssize_t write(Side side, Pipe& from, std::size_t count) override;
  int shut_down_write(Side side) override;
  void run() override { carry_on(); }  // as a Task
  void expired() override;             // as a Timer

  End& at(Side side) { return side == Side::client ? client_ : guest_; }
  void ready(Side side, std::uint32_t events);
  const RelayEndpoint& endpoint() const;
  bool is_last_endpoint() const;
  void connect();
  int try_connect();
  int try_connect(const SocketAddress& address);
  bool try_again();
  void connected();
  void ask();
  void say_early();
  void answered();
  void discard_early(std::size_t count);
  void connect_failed(int error_number);
  void reached();
  void pump();
  void resume();
  std::size_t step() const;
  void carry_on();
  void no_delay();
  bool fits_other_lane(std::uint64_t carried);
  void watch_idleness();
  void end(bool reset);

  RelayContext& context_;
  Owner& owner_;
  std::shared_ptr<const RelayForward> forward_;  // until the guest is reached, as the next four
  std::shared_ptr<ForwardShare> share_;
  std::optional<AgentAccess::Way> way_;
  std::unique_ptr<AgentCall> call_;
  std::uint32_t call_events_ = 0;  // of the guest's side, meanwhile
  End client_{*this, Side::client};
  End guest_{*this, Side::guest};
  Flow flow_;
  std::uint32_t first_endpoint_ = 0;
  std::uint32_t tried_endpoints_ = 0;  // in vain
  std::uint32_t idle_timeout_ = 0;     // seconds; 0: none
  gint64 connect_began_ = 0;
  gint64 connect_until_ = 0;      // the endpoint that is being tried has this long
  gint64 active_ = 0;             // when bytes were last carried
  std::uint32_t misplaced_ = 0;   // bytes, or turns, that were for the other lane; in a row
  bool no_delay_ = false;         // of the guest's side
  bool by_agent_ = false;         // so is the guest reached
  std::uint64_t agent_life_ = 0;  // once it is
  State state_ = State::connecting;
};

}  // namespace vf
