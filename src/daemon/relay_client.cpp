// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/relay_client.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "daemon/service_process.h"
#include "glib/packet_channel.h"
#include "glib/source.h"
#include "wire/relay.h"

namespace vf {
namespace {

using std::chrono::milliseconds;

constexpr PacketChannel::Limits limits{relay_packet_max_bytes, relay_packet_max_fds, 64u << 20};
constexpr std::size_t max_held = 200'000;
constexpr milliseconds first_delay{100};
constexpr milliseconds longest_delay{10'000};
// A relay that lasted this long starts the delays anew when it is lost.
constexpr gint64 steady_time = 5 * G_USEC_PER_SEC;
constexpr milliseconds hello_timeout{10'000};
constexpr milliseconds commit_timeout{10'000};
constexpr milliseconds shut_down_timeout{5'000};

}  // namespace

class RelayClient::Implementation {
 public:
  Implementation(Options options, Observer& observer)
      : options_(std::move(options)), observer_(observer) {}

  void start() {
    retry_ = after(milliseconds(0), [this] { open(); });
  }
  bool ready() const { return state_ == State::ready; }

  void stage(RelayMessage message, const std::string& key) {
    if (!ready()) return;
    if (!staged_.append(message)) {
      flush();
      if (!staged_.append(message)) return fail(key, E2BIG);
    }
    uncommitted_ = true;
  }

  // Of a forward that could not be staged; never inside the call that staged it.
  void fail(const std::string& key, int error_number) {
    failures_.emplace_back(key, error_number);
    telling_ = after(milliseconds(0), [this] {
      for (const auto& [failed, error] : std::exchange(failures_, {}))
        observer_.forward_failing(failed, error);
    });
  }

  void commit(std::function<void()> done) {
    if (ready() && !uncommitted_) {
      if (!commits_.empty() && commits_.back().sequence == 0) applied(0);
      if (!commits_.empty())
        commits_.push_back({commits_.back().sequence, std::move(done)});
      else if (done)
        done();
      return;
    }
    commits_.push_back({ready() ? ++sequence_ : 0, std::move(done)});
    if (!ready()) return;
    stage(RelayCommit{sequence_}, {});
    uncommitted_ = false;
    flush();
    if (!deadline_) expect_answer();
  }

  void statistics(std::function<void(Result<Statistics>)> done) {
    if (!ready()) return done(Unexpected(ErrorCode::failed, "the relay is not connected"));
    const std::uint64_t sequence = ++sequence_;
    queries_.emplace(sequence, Query{{}, std::move(done)});
    send(RelayStatistics{sequence});
  }

  bool send_now(RelayMessage message) {
    if (!ready()) return false;
    flush();
    return send(std::move(message));
  }

  void shut_down(std::function<void()> done) {
    retry_.reset();
    if (!channel_) {
      state_ = State::ended;
      if (done) done();
      return;
    }
    state_ = State::ending;
    on_ended_ = std::move(done);
    send(RelayShutDown{});
    deadline_ = after(shut_down_timeout, [this] { lost("it does not end"); });
  }

 private:
  enum class State { idle, greeting, listing, ready, ending, ended };

  struct Commit {
    std::uint64_t sequence;  // 0: of a relay that was lost, or before there was one
    std::function<void()> done;
  };
  struct Query {
    Statistics statistics;
    std::function<void(Result<Statistics>)> done;
  };

  void open() {
    auto socket =
        connect_or_start({options_.relay_program, options_.socket_path, options_.relay_user});
    if (!socket) return lost(socket.error().message);
    state_ = State::greeting;
    channel_ = std::make_unique<PacketChannel>(
        std::move(*socket), limits,
        [this](std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
          receive(bytes, std::move(fds));
        },
        [this](const std::string& reason) { lost(reason); }, nullptr, nullptr);
    send(RelayHello{relay_protocol_version, relay_capabilities,
                    static_cast<std::uint32_t>(getpid())});
    deadline_ = after(hello_timeout, [this] { lost("it does not answer"); });
  }

  // Ends this connection, if there is one, and sees to the next.
  void lost(const std::string& reason) {
    const State before = std::exchange(state_, State::idle);
    channel_.reset();
    deadline_.reset();
    staged_ = {};
    uncommitted_ = false;
    held_.clear();
    kept_.clear();
    proven_.clear();
    for (Commit& commit : commits_)
      commit.sequence = 0;
    if (before == State::ending) {
      state_ = State::ended;
      if (const auto ended = std::exchange(on_ended_, {})) ended();
      return;
    }
    if (before == State::ready && g_get_monotonic_time() - ready_since_ >= steady_time)
      delay_ = milliseconds(0);
    retry_ = after(delay_, [this] { open(); });
    delay_ = std::clamp(delay_ * 2, first_delay, longest_delay);
    for (auto& [sequence, query] : std::exchange(queries_, {}))
      query.done(Unexpected(ErrorCode::failed, "the relay was lost: " + reason));
    const std::string told = "relay: " + reason;
    if (before == State::ready || told != told_) {
      told_ = told;
      observer_.relay_lost(told);
    }
  }

  void receive(std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
    auto messages = decode_relay_packet(bytes, std::move(fds));
    if (!messages) return lost(messages.error().message);
    const PacketChannel* const channel = channel_.get();
    for (RelayMessage& message : *messages) {
      std::visit([this](auto& typed) { take(typed); }, message);
      if (channel_.get() != channel) return;
    }
  }

  void take(RelayHello& hello) {
    if (state_ == State::ending) return;
    if (state_ != State::greeting) return out_of_order();
    if (hello.version != relay_protocol_version)
      return lost("the relay that runs (pid " + std::to_string(hello.pid) + ") speaks protocol " +
                  std::to_string(hello.version) + ", this daemon " +
                  std::to_string(relay_protocol_version) + ": restart virt-forward-relay");
    state_ = State::listing;
    send(RelayList{++sequence_});
  }

  void take(RelayHeld& held) {
    if (state_ == State::ending) return;
    if (state_ != State::listing || held_.size() >= max_held) return out_of_order();
    if (held.proven) proven_.emplace_back(held.forward.key, held.endpoint);
    const auto proven = held.proven ? std::optional<std::size_t>(held.endpoint) : std::nullopt;
    held_.push_back({std::move(held.forward), std::move(held.listeners), proven});
  }

  void take(RelayKept& kept) {
    if (state_ == State::ending) return;
    if (state_ != State::listing || kept_.size() >= relay_max_kept) return out_of_order();
    kept_[kept.name] = std::move(kept.fds.at(0));
  }

  void take(RelayListEnd&) {
    if (state_ == State::ending) return;
    if (state_ != State::listing) return out_of_order();
    state_ = State::ready;
    deadline_.reset();
    ready_since_ = g_get_monotonic_time();
    told_.clear();
    const auto proven = std::exchange(proven_, {});
    observer_.relay_kept(std::exchange(kept_, {}));
    observer_.relay_ready(std::exchange(held_, {}));
    for (const auto& [key, endpoint] : proven)
      observer_.forward_proven(key, endpoint);
  }

  void take(RelayCommitted& committed) { applied(committed.sequence); }

  void take(RelayCounters& counters) {
    if (queries_.empty()) return;
    ForwardCounters plain;
    plain.connections = counters.connections;
    plain.bytes_in = counters.bytes_in;
    plain.bytes_out = counters.bytes_out;
    plain.accepted = counters.accepted;
    plain.failures = counters.failures;
    // Answers come in the order of the questions.
    queries_.begin()->second.statistics.counters.emplace_back(std::move(counters.key), plain);
  }

  // One for each lane; see RelayCapability.
  void take(RelayLaneStatistics& lane) {
    if (queries_.empty() || queries_.begin()->second.statistics.lanes.size() >= 2)
      return out_of_order();
    queries_.begin()->second.statistics.lanes.push_back(lane);
  }

  void take(RelayStatisticsEnd& end) {
    auto found = queries_.extract(end.sequence);
    if (found) found.mapped().done(std::move(found.mapped().statistics));
  }

  void take(RelayProven& proven) {
    if (state_ == State::ready) observer_.forward_proven(proven.key, proven.endpoint);
  }
  void take(RelayFailing& failing) {
    if (state_ == State::ready) observer_.forward_failing(failing.key, failing.error_number);
  }
  void take(RelayGuestUp& up) {
    if (state_ == State::ready) observer_.guest_up(up);
  }
  void take(RelayGuestDown& down) {
    if (state_ == State::ready) observer_.guest_down(down);
  }
  void take(RelayGuestListener& told) {
    if (state_ == State::ready) observer_.guest_listener(told);
  }
  void take(RelayGuestGone& told) {
    if (state_ == State::ready) observer_.guest_gone(told);
  }
  void take(RelayGuestSynced& synced) {
    if (state_ == State::ready) observer_.guest_synced(synced);
  }
  void take(RelayAgentAnswer& answer) {
    if (state_ == State::ready) observer_.agent_answer(answer);
  }
  template <typename Other>
  void take(Other&) {
    out_of_order();
  }
  void out_of_order() { lost("it sent a message out of order"); }

  // Commits end in their order; those of an earlier connection were made again by the observer.
  void applied(std::uint64_t sequence) {
    while (!commits_.empty() && commits_.front().sequence <= sequence) {
      const auto done = std::move(commits_.front().done);
      commits_.pop_front();
      if (done) done();
    }
    if (!ready()) return;
    deadline_.reset();
    if (!commits_.empty()) expect_answer();
  }

  void expect_answer() {
    deadline_ = after(commit_timeout, [this] { lost("it does not answer"); });
  }

  bool send(RelayMessage message) {
    RelayPacket packet;
    if (!channel_ || !packet.append(message)) return false;
    channel_->send(std::move(packet.bytes), std::move(packet.fds));
    return true;
  }

  void flush() {
    RelayPacket packet = std::exchange(staged_, {});
    if (channel_ && !packet.empty()) channel_->send(std::move(packet.bytes), std::move(packet.fds));
  }

  const Options options_;
  Observer& observer_;
  State state_ = State::idle;
  std::unique_ptr<PacketChannel> channel_;
  RelayPacket staged_;
  bool uncommitted_ = false;
  std::uint64_t sequence_ = 0;
  std::deque<Commit> commits_;
  std::map<std::uint64_t, Query> queries_;
  std::vector<HeldForward> held_;
  std::map<std::string, Fd> kept_;
  std::vector<std::pair<std::string, std::size_t>> proven_;
  std::function<void()> on_ended_;
  std::string told_;
  milliseconds delay_{0};
  gint64 ready_since_ = 0;
  std::vector<std::pair<std::string, int>> failures_;
  Source telling_;
  Source retry_;
  Source deadline_;
};

RelayClient::RelayClient(Options options, Observer& observer)
    : implementation_(std::make_unique<Implementation>(std::move(options), observer)) {}

RelayClient::~RelayClient() = default;

void RelayClient::start() {
  implementation_->start();
}

bool RelayClient::ready() const {
  return implementation_->ready();
}

void RelayClient::add(const RelayForward& forward, const std::vector<int>& listeners) {
  RelayAdd add{forward, {}};
  for (const int listener : listeners) {
    Fd duplicate(fcntl(listener, F_DUPFD_CLOEXEC, 0));
    if (!duplicate) return implementation_->fail(forward.key, errno);
    add.listeners.push_back(std::move(duplicate));
  }
  implementation_->stage(std::move(add), forward.key);
}

void RelayClient::update(const RelayForward& forward) {
  implementation_->stage(RelayUpdate{forward}, forward.key);
}

void RelayClient::remove(const std::string& key, Removal removal) {
  const auto how = removal == Removal::cut ? RelayRemoval::cut : RelayRemoval::drain;
  implementation_->stage(RelayRemove{key, how}, key);
}

void RelayClient::commit(std::function<void()> done) {
  implementation_->commit(std::move(done));
}

void RelayClient::statistics(std::function<void(Result<Statistics>)> done) {
  implementation_->statistics(std::move(done));
}

void RelayClient::keep(const std::string& name, int fd) {
  RelayKeep keep{name, {}};
  keep.fds.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (keep.fds.front()) implementation_->send_now(std::move(keep));
}

void RelayClient::open_guest(const std::string& guest, const RelayEndpoint& agent, bool wants_udp,
                             Fd control) {
  RelayGuestOpen open{guest, agent, wants_udp, {}};
  open.control.push_back(std::move(control));
  implementation_->send_now(std::move(open));
}

void RelayClient::guest_wants(const std::string& guest, bool udp) {
  implementation_->send_now(RelayGuestWants{guest, udp});
}

void RelayClient::close_guest(const std::string& guest) {
  implementation_->send_now(RelayGuestClose{guest});
}

bool RelayClient::agent_reply(RelayAgentReply reply) {
  return implementation_->send_now(std::move(reply));
}

void RelayClient::shut_down(std::function<void()> done) {
  implementation_->shut_down(std::move(done));
}

}  // namespace vf
