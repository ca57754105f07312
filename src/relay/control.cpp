// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/control.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "base/listening_socket.h"
#include "glib/packet_channel.h"
#include "relay/log.h"

namespace vf {
namespace {

constexpr std::size_t max_sessions = 8;
constexpr std::size_t max_queries = 16;
constexpr PacketChannel::Limits limits{relay_packet_max_bytes, relay_packet_max_fds, 4u << 20};

}  // namespace

// A daemon's connection. Long answers are made packet by packet as the daemon reads them, so that
// duplicates of a few thousand listeners never exist at once.
class ControlServer::Session {
 public:
  Session(ControlServer& server, Fd socket)
      : server_(server),
        channel_(
            std::move(socket), limits,
            [this](std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
              receive(bytes, std::move(fds));
            },
            [this](const std::string& reason) { server_.closed(*this, reason); },
            [this] { drained(); }, server.context_) {
    send(RelayHello{relay_protocol_version, relay_capabilities,
                    static_cast<std::uint32_t>(getpid())});
  }

  void send(RelayMessage message) {
    RelayPacket packet;
    if (packet.append(message)) send(std::move(packet));
  }
  void send(RelayPacket packet) { channel_.send(std::move(packet.bytes), std::move(packet.fds)); }
  // Whether it has taken all that was sent.
  bool has_room() const { return !ended_ && channel_.drained(); }

 private:
  struct Query {
    bool list;
    std::uint64_t sequence;
    std::string told = {};  // the last key that was answered
    std::string told_kept = {};
    // Of statistics, once the relay's threads have said them; what is left of them.
    std::optional<std::deque<RelayMessage>> statistics = {};
  };

  void receive(std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
    if (ended_) return;
    auto messages = decode_relay_packet(bytes, std::move(fds));
    if (!messages) return fail(messages.error().message);
    for (RelayMessage& message : *messages) {
      const auto taken = std::visit([this](auto& typed) { return take(typed); }, message);
      if (!taken) return fail(taken.error().message);
      if (ended_) return;
    }
    answer();
  }

  // The connection ends in the next turn: this object is still on the stack.
  void fail(const std::string& reason) {
    ended_ = true;
    log_line(LogLevel::warning, "control connection dropped" + log_field("reason", reason));
    closing_ = after(
        std::chrono::milliseconds(0), [this, reason] { server_.closed(*this, reason); },
        server_.context_);
  }

  Result<void> take(RelayHello& hello) {
    if (greeted_) return unexpected();
    if (hello.version != relay_protocol_version)
      return Unexpected(ErrorCode::not_supported,
                        "it speaks protocol " + std::to_string(hello.version) + ", this relay " +
                            std::to_string(relay_protocol_version));
    greeted_ = true;
    is_successor_ = (hello.capabilities & relay_hello_successor) != 0;
    wants_lanes_ = !is_successor_ && has(hello, RelayCapability::lane_statistics);
    if (!is_successor_) server_.greeted(*this);
    return {};
  }
  Result<void> take(RelayTakeOver&) {
    if (!is_successor_) return unexpected();
    auto control = server_.hand_over(*this);
    if (!control) return Unexpected(std::move(control).error());
    RelayControlSocket message;
    message.listeners.push_back(std::move(*control));
    send(std::move(message));
    return query({true, 0});
  }
  Result<void> take(RelayRetire&) {
    if (server_.successor_ != this) return unexpected();
    server_.retire();
    return {};
  }
  template <typename Change>
  requires requires(Crew& crew, Change change) { crew.stage(std::move(change)); }
  Result<void> take(Change& change) {
    if (!greeted_ || is_successor_) return unexpected();
    return server_.crew_->stage(std::move(change));
  }
  Result<void> take(RelayCommit& commit) {
    if (!greeted_) return unexpected();
    server_.crew_->commit(
        while_here([this, sequence = commit.sequence] { send(RelayCommitted{sequence}); }));
    return {};
  }
  Result<void> take(RelayList& list) { return query({true, list.sequence}); }
  Result<void> take(RelayStatistics& statistics) {
    if (auto taken = query({false, statistics.sequence}); !taken) return taken;
    server_.crew_->statistics(
        [this, alive = std::weak_ptr<int>(alive_)](const Crew::Statistics& told) {
          if (alive.expired()) return;
          const auto asked = std::ranges::find_if(
              queries_, [](const Query& one) { return !one.list && !one.statistics; });
          auto& answers = asked->statistics.emplace(told.forwards.begin(), told.forwards.end());
          if (wants_lanes_) answers.insert(answers.end(), told.lanes.begin(), told.lanes.end());
          answer();
        });
    return {};
  }
  Result<void> take(RelayGuestOpen& open) {
    if (server_.daemon_ != this) return unexpected();
    server_.guests_->open(std::move(open));
    return {};
  }
  Result<void> take(RelayGuestWants& wants) {
    if (server_.daemon_ != this) return unexpected();
    server_.guests_->wants(wants);
    return {};
  }
  Result<void> take(RelayGuestClose& close) {
    if (server_.daemon_ != this) return unexpected();
    server_.guests_->close(close.guest);
    return {};
  }
  Result<void> take(RelayAgentReply& reply) {
    if (server_.daemon_ != this) return unexpected();
    send(server_.guests_->take(std::move(reply)));
    server_.guests_->tell_news();
    return {};
  }
  Result<void> take(RelayKeep& keep) {
    if (server_.daemon_ != this) return unexpected();
    if (server_.keep(keep.name, std::move(keep.fds.at(0)))) return {};
    return Unexpected(ErrorCode::failed, "it gives more to keep than is kept");
  }
  Result<void> take(RelayShutDown&) {
    if (!greeted_) return unexpected();
    const auto shut_down = server_.on_shut_down_;
    shut_down();
    return {};
  }
  template <typename Other>
  requires(!requires(Crew & crew, Other other) {
    crew.stage(std::move(other));
  }) Result<void> take(Other&) {
    return unexpected();
  }
  static Unexpected unexpected() {
    return Unexpected(ErrorCode::invalid_argument, "it sent a message out of order");
  }

  Result<void> query(Query query) {
    if (!greeted_ || queries_.size() >= max_queries) return unexpected();
    queries_.push_back(std::move(query));
    return {};
  }

  // Questions first.
  void drained() {
    answer();
    if (server_.daemon_ == this && has_room()) server_.guests_->tell_news();
  }

  void answer() {
    while (!ended_ && !queries_.empty() && channel_.drained()) {
      if (!queries_.front().list && !queries_.front().statistics) return;
      RelayPacket packet;
      fill(packet);
      send(std::move(packet));
    }
  }

  // One packet's worth of the first query.
  void fill(RelayPacket& packet) {
    Query& query = queries_.front();
    if (!(query.list ? fill_list(query, packet) && fill_kept(query, packet)
                     : fill_statistics(query, packet)))
      return;
    RelayMessage end;
    if (query.list)
      end = RelayListEnd{query.sequence};
    else
      end = RelayStatisticsEnd{query.sequence};
    if (packet.append(end)) queries_.pop_front();
  }

  // False when the packet is full before everything was said.
  bool fill_list(Query& query, RelayPacket& packet) {
    while (const Crew::Entry* entry = server_.crew_->after(query.told)) {
      auto held = entry->held();
      if (!held) {
        fail(held.error().message);
        return false;
      }
      RelayMessage message = std::move(*held);
      if (!packet.append(message)) return false;
      query.told = entry->forward.key;
    }
    return true;
  }
  bool fill_kept(Query& query, RelayPacket& packet) {
    for (auto next = server_.kept_.upper_bound(query.told_kept); next != server_.kept_.end();
         ++next) {
      Fd duplicate(fcntl(next->second.get(), F_DUPFD_CLOEXEC, 0));
      if (!duplicate) {
        fail(system_error(errno, "fcntl").message);
        return false;
      }
      RelayKept kept{next->first, {}};
      kept.fds.push_back(std::move(duplicate));
      RelayMessage message = std::move(kept);
      if (!packet.append(message)) return false;
      query.told_kept = next->first;
    }
    return true;
  }
  static bool fill_statistics(Query& query, RelayPacket& packet) {
    while (!query.statistics->empty()) {
      if (!packet.append(query.statistics->front())) return false;
      query.statistics->pop_front();
    }
    return true;
  }

  // A function that does nothing once this session is gone.
  std::function<void()> while_here(std::function<void()> function) {
    return [alive = std::weak_ptr<int>(alive_), function = std::move(function)] {
      if (!alive.expired()) function();
    };
  }

  ControlServer& server_;
  PacketChannel channel_;
  std::deque<Query> queries_;
  bool greeted_ = false;
  bool is_successor_ = false;
  bool wants_lanes_ = false;
  bool ended_ = false;
  Source closing_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

Result<std::unique_ptr<ControlServer>> ControlServer::create(Fd listening, GMainContext* context,
                                                             std::chrono::seconds lonely_time,
                                                             std::function<void()> on_shut_down) {
  auto owner = adopt_control_socket(listening);
  if (!owner) return Unexpected(owner.error());
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(listening), *owner, context,
                                                          lonely_time, std::move(on_shut_down)));
}

ControlServer::ControlServer(Fd listening, uid_t owner, GMainContext* context,
                             std::chrono::seconds lonely_time, std::function<void()> on_shut_down)
    : listening_(std::move(listening)),
      owner_(owner),
      context_(context),
      lonely_time_(lonely_time),
      on_shut_down_(std::move(on_shut_down)) {}

ControlServer::~ControlServer() = default;

void ControlServer::stop() {
  accepting_.reset();
  draining_.reset();
  lonely_.reset();
  successor_ = nullptr;
  daemon_ = nullptr;
  guests_.reset();
  sessions_.clear();
}

bool ControlServer::keep(const std::string& name, Fd fd) {
  if (kept_.size() >= relay_max_kept && !kept_.contains(name)) return false;
  kept_[name] = std::move(fd);
  return true;
}

void ControlServer::serve(Crew& crew) {
  crew_ = &crew;
  Guests::Outlet& outlet = *this;
  guests_ = std::make_unique<Guests>(
      outlet,
      [&crew](const std::string& guest) {
        const auto domain = crew.domain(guest);
        return std::shared_ptr<AgentAccess>(domain, &domain->agent);
      },
      [&crew](const std::string& guest) { crew.cut_outlived(guest); });
  listen();
  watch_loneliness();
}

// What was committed is served without a daemon, and what drains does so: then again after a while.
void ControlServer::watch_loneliness() {
  lonely_.reset();
  if (retired_ || !sessions_.empty()) return;
  lonely_ = every(
      lonely_time_,
      [this] {
        if (crew_->size() == 0 && crew_->draining() == 0) on_shut_down_();
      },
      context_);
}

void ControlServer::listen() {
  accepting_ = watch_fd(
      listening_.get(), G_IO_IN, [this](GIOCondition) { accept(); }, context_);
}

void ControlServer::accept() {
  Fd socket(accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket || !may_control(socket.get())) return;
  if (sessions_.size() >= max_sessions) return;
  sessions_.push_back(std::make_unique<Session>(*this, std::move(socket)));
  lonely_.reset();
}

bool ControlServer::may_control(int socket) const {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return false;
  if (peer.uid == 0 || peer.uid == owner_ || peer.uid == own_) return true;
  log_line(LogLevel::warning, "control connection refused uid=" + std::to_string(peer.uid));
  return false;
}

void ControlServer::greeted(Session& session) {
  if (daemon_) closed(*daemon_, "another daemon took over");
  daemon_ = &session;
  guests_->daemon_changed();
}

void ControlServer::closed(Session& session, const std::string& reason) {
  if (daemon_ == &session) {
    daemon_ = nullptr;
    crew_->drop_staged();
    log_line(LogLevel::info, "daemon disconnected" + log_field("reason", reason));
  }
  if (successor_ == &session) {
    successor_ = nullptr;
    if (!retired_) {
      log_line(LogLevel::warning, "not taken over" + log_field("reason", reason));
      listen();
    }
  }
  std::erase_if(sessions_, [&](const auto& one) { return one.get() == &session; });
  watch_loneliness();
}

// From here on nothing changes but by the successor: who connects waits in the socket, for it or,
// should it fail, for us.
Result<Fd> ControlServer::hand_over(Session& successor) {
  if (successor_ || retired_)
    return Unexpected(ErrorCode::failed, "another relay is taking over already");
  Fd duplicate(fcntl(listening_.get(), F_DUPFD_CLOEXEC, 0));
  if (!duplicate) return Unexpected(system_error(errno, "fcntl"));
  accepting_.reset();
  successor_ = &successor;
  if (daemon_) closed(*daemon_, "another relay takes over");
  crew_->drop_staged();
  std::erase_if(sessions_, [&](const auto& one) { return one.get() != &successor; });
  return duplicate;
}

void ControlServer::retire() {
  retired_ = true;
  kept_.clear();
  lonely_.reset();
  listening_.reset();
  guests_.reset();
  std::string told;
  while (const Crew::Entry* entry = crew_->after(told)) {
    told = entry->forward.key;
    if (!crew_->stage(RelayRemove{told, RelayRemoval::drain})) crew_->commit({});
  }
  crew_->commit({});
  log_line(LogLevel::info, "another relay has taken over, what is connected here goes on");
  draining_ = every(
      std::chrono::milliseconds(200),
      [this] {
        if (crew_->draining() == 0) on_shut_down_();
      },
      context_);
}

void ControlServer::proven(const std::string& key, std::size_t endpoint) {
  tell(RelayProven{key, static_cast<std::uint8_t>(endpoint)});
}

void ControlServer::failing(const std::string& key, int error_number) {
  tell(RelayFailing{key, error_number});
}

void ControlServer::tell(RelayMessage event) {
  if (daemon_) daemon_->send(std::move(event));
}

bool ControlServer::takes_news() {
  return daemon_ && daemon_->has_room();
}

void ControlServer::tell(RelayPacket packet) {
  if (daemon_) daemon_->send(std::move(packet));
}

}  // namespace vf
