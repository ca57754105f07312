// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/ssh_tunnels.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <utility>

#include "glib/packet_channel.h"
#include "glib/source.h"
#include "wire/ssh.h"

namespace vf {
namespace {

using std::chrono::milliseconds;

constexpr PacketChannel::Limits limits{ssh_packet_max_bytes, 1, 64u << 20};
constexpr milliseconds first_delay{100};
constexpr milliseconds longest_delay{10'000};
constexpr milliseconds hello_timeout{10'000};
constexpr milliseconds shut_down_timeout{5'000};
// Without an order; it ends by itself when nobody is connected.
constexpr milliseconds idle_time{10'000};
// One that lasted this long starts the delays anew when it is lost.
constexpr gint64 steady_time = 5 * G_USEC_PER_SEC;
constexpr std::uint32_t ssh_port_of_vsock = 22;

AgentEndpoint endpoint_of(const TunnelTarget& target) {
  return {target.address, target.port, target.path};
}

// Of what is ordered for a guest, and what has been told of it.
struct Guest {
  TunnelOrder order;
  std::string missing;  // without which nothing can be ordered of virt-forward-ssh
  std::optional<SshGuest> sent;
  std::optional<SshState> state;
  std::map<AgentEndpoint, SshTunnel> tunnels;
  std::map<AgentEndpoint, std::string> refusals;
  // Of ends() and refusals(), when last looked at.
  std::map<TunnelTarget, std::string> shown;
};

std::vector<RelayEndpoint> destinations_of(const TunnelOrder& order) {
  std::vector<RelayEndpoint> destinations;
  for (const IpAddress& address : order.addresses)
    if (destinations.size() + 1 < ssh_max_destinations)
      destinations.emplace_back(Endpoint{address, order.ssh->port});
  if (order.cid) destinations.emplace_back(VsockEndpoint{*order.cid, ssh_port_of_vsock});
  return destinations;
}

std::string missing_of(const TunnelOrder& order) {
  if (!order.ssh) return "no account is given: <ssh user=\"…\" identity=\"…\"/>";
  if (!is_ssh_user(order.ssh->user)) return "the account's name is none";
  if (!order.ssh->key_name.empty() && order.ssh->key_path.empty())
    return "the host policy lists no key " + order.ssh->key_name;
  return {};
}

SshGuest message_of(const TunnelOrder& order) {
  SshGuest guest{order.uuid, destinations_of(order), order.ssh->user, order.ssh->key_path, {}};
  for (const TunnelTarget& target : order.targets)
    if (target.protocol == Protocol::tcp && guest.targets.size() < ssh_max_targets)
      guest.targets.push_back(endpoint_of(target));
  return guest;
}

}  // namespace

class SshTunnels::Implementation {
 public:
  Implementation(Connect connect, Observer& observer)
      : connect_(std::move(connect)), observer_(observer) {}

  void settled() {
    if (std::exchange(settled_, true)) return;
    if (state_ == State::ready)
      sync();
    else
      open_soon();
  }

  void order(TunnelOrder order) {
    // What is connected may still be in use; the domain's end is told by forget().
    if (order.targets.empty() && !guests_.contains(order.uuid)) return;
    if (order.targets.empty() && !order.ssh) return forget(order.uuid);
    Guest& guest = guests_[order.uuid];
    if (guest.order == order) return;
    guest.order = std::move(order);
    guest.missing = missing_of(guest.order);
    if (guest.missing.empty())
      send_order(guest);
    else
      withdraw(guest);
    guest.shown = shown(guest);
    idle_.reset();
    open_soon();
  }

  void forget(const std::string& uuid) {
    const auto found = guests_.find(uuid);
    if (found == guests_.end()) return;
    withdraw(found->second);
    guests_.erase(found);
    changed_.erase(uuid);
    rest();
  }

  TunnelEnds ends(const std::string& uuid) const {
    const auto found = guests_.find(uuid);
    return found == guests_.end() ? TunnelEnds() : ends(found->second);
  }

  std::map<TunnelTarget, std::string> refusals(const std::string& uuid) const {
    std::map<TunnelTarget, std::string> result;
    const auto found = guests_.find(uuid);
    if (found == guests_.end()) return result;
    for (const TunnelTarget& target : found->second.order.targets)
      if (const auto told = found->second.refusals.find(endpoint_of(target));
          told != found->second.refusals.end())
        result.emplace(target, told->second);
    return result;
  }

  void shut_down(std::function<void()> done) {
    retry_.reset();
    guests_.clear();
    if (!channel_) {
      state_ = State::ended;
      if (done) done();
      return;
    }
    state_ = State::ending;
    on_ended_ = std::move(done);
    send(SshShutDown{});
    deadline_ = after(shut_down_timeout, [this] { lost("it does not end"); });
  }

 private:
  enum class State { idle, greeting, ready, ending, ended };

  // --- the connection

  void open_soon() {
    if (state_ != State::idle || retry_) return;
    retry_ = after(milliseconds(0), [this] { open(); });
  }

  void open() {
    retry_.reset();
    auto socket = connect_(!guests_.empty());
    if (!socket) return lost(socket.error().message);
    if (!*socket) return;  // nobody there, and nothing to be done
    state_ = State::greeting;
    channel_ = std::make_unique<PacketChannel>(
        std::move(*socket), limits,
        [this](std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
          receive(bytes, std::move(fds));
        },
        [this](const std::string& reason) { lost(reason); }, nullptr, nullptr);
    send(SshHello{ssh_protocol_version, 0, static_cast<std::uint32_t>(getpid())});
    deadline_ = after(hello_timeout, [this] { lost("it does not answer"); });
  }

  // Ends this connection, if there is one, and sees to the next.
  void lost(const std::string& reason) {
    const State before = std::exchange(state_, State::idle);
    channel_.reset();
    deadline_.reset();
    if (before == State::ending) {
      state_ = State::ended;
      if (const auto ended = std::exchange(on_ended_, {})) ended();
      return;
    }
    trouble_ = "virt-forward-ssh: " + reason;
    for (auto& [uuid, guest] : guests_) {
      unknown(guest);
      changed(uuid);
    }
    if (before == State::ready && g_get_monotonic_time() - ready_since_ >= steady_time)
      delay_ = milliseconds(0);
    if (!guests_.empty() || (settled_ && !synced_)) retry_ = after(delay_, [this] { open(); });
    delay_ = std::clamp(delay_ * 2, first_delay, longest_delay);
  }

  // Nothing is wanted: it may end.
  void rest() {
    if (!guests_.empty() || !channel_ || state_ == State::ending || idle_) return;
    idle_ = after(idle_time, [this] {
      state_ = State::idle;
      channel_.reset();
      deadline_.reset();
    });
  }

  void receive(std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
    auto messages = decode_ssh_packet(bytes, std::move(fds));
    if (!messages) return lost(messages.error().message);
    const PacketChannel* const channel = channel_.get();
    for (SshMessage& message : *messages) {
      std::visit([this](auto& typed) { take(typed); }, message);
      if (channel_.get() != channel) return;
    }
  }

  bool send(SshMessage message) {
    auto bytes = encode_ssh_message(std::move(message));
    if (!channel_ || bytes.empty()) return false;
    channel_->send(std::move(bytes), {});
    return true;
  }

  void send_order(Guest& guest) {
    if (state_ != State::ready) return;
    SshGuest message = message_of(guest.order);
    if (guest.sent == message) return;
    // Of what is ordered no longer nothing may be believed when it is ordered again.
    const auto wanted = [&](const AgentEndpoint& target) {
      return std::ranges::find(message.targets, target) != message.targets.end();
    };
    std::erase_if(guest.tunnels, [&](const auto& entry) { return !wanted(entry.first); });
    std::erase_if(guest.refusals, [&](const auto& entry) { return !wanted(entry.first); });
    if (send(message)) {
      guest.sent = std::move(message);
    } else {
      withdraw(guest);
      guest.missing = "what is ordered cannot be said to virt-forward-ssh";
    }
  }

  void sync() {
    synced_ = true;
    send(SshSync{});
  }

  void withdraw(Guest& guest) {
    if (guest.sent && state_ == State::ready) send(SshClose{guest.order.uuid});
    unknown(guest);
  }

  static void unknown(Guest& guest) {
    guest.sent.reset();
    guest.state.reset();
    guest.tunnels.clear();
    guest.refusals.clear();
  }

  // --- what it says

  void take(SshHello& hello) {
    if (state_ == State::ending) return;
    if (state_ != State::greeting) return out_of_order();
    if (hello.version != ssh_protocol_version)
      return lost("the one that runs (pid " + std::to_string(hello.pid) + ") speaks protocol " +
                  std::to_string(hello.version) + ", this daemon " +
                  std::to_string(ssh_protocol_version) + ": restart virt-forward-ssh");
    state_ = State::ready;
    deadline_.reset();
    trouble_.clear();
    ready_since_ = g_get_monotonic_time();
    for (auto& [uuid, guest] : guests_) {
      if (guest.missing.empty()) send_order(guest);
      changed(uuid);
    }
    if (settled_) sync();
    rest();
  }

  // Of a guest that is ordered now.
  Guest* guest_of(const std::string& uuid) {
    const auto found = guests_.find(uuid);
    return found != guests_.end() && found->second.sent ? &found->second : nullptr;
  }
  bool is_ordered(const Guest& guest, const AgentEndpoint& target) const {
    return std::ranges::find(guest.sent->targets, target) != guest.sent->targets.end();
  }

  void take(SshState& state) {
    Guest* const guest = guest_of(state.uuid);
    if (!guest) return;
    if (state.phase != SshPhase::up) {
      guest->tunnels.clear();
      guest->refusals.clear();
    }
    guest->state = state;
    changed(state.uuid);
  }
  void take(SshTunnel& tunnel) {
    Guest* const guest = guest_of(tunnel.uuid);
    if (!guest || !is_ordered(*guest, tunnel.target)) return;
    changed(tunnel.uuid);
    guest->tunnels.insert_or_assign(tunnel.target, tunnel);
  }
  void take(SshRefused& refused) {
    Guest* const guest = guest_of(refused.uuid);
    if (!guest || !is_ordered(*guest, refused.target)) return;
    if (refused.reason.empty())
      guest->refusals.erase(refused.target);
    else
      guest->refusals.insert_or_assign(refused.target, refused.reason);
    changed(refused.uuid);
  }
  template <typename Other>
  void take(Other&) {
    out_of_order();
  }
  void out_of_order() { lost("it sent a message out of order"); }

  // --- what is made of it

  TunnelEnds ends(const Guest& guest) const {
    TunnelEnds result;
    for (const TunnelTarget& target : guest.order.targets)
      result.emplace(target, end(guest, target));
    return result;
  }

  Result<RelayEndpoint> end(const Guest& guest, const TunnelTarget& target) const {
    const auto none = [](std::string reason) {
      return Unexpected(ErrorCode::failed, std::move(reason));
    };
    if (target.protocol != Protocol::tcp)
      return Unexpected(ErrorCode::not_supported, "ssh carries TCP and unix sockets only");
    if (!guest.missing.empty()) return none(guest.missing);
    if (!guest.state) return none(trouble_.empty() ? "ssh is being started" : trouble_);
    if (guest.state->phase != SshPhase::up) {
      if (!guest.state->reason.empty()) return none(guest.state->reason);
      return none("ssh connects");
    }
    const auto told = guest.tunnels.find(endpoint_of(target));
    if (told != guest.tunnels.end()) {
      if (!told->second.path.empty()) return RelayEndpoint(UnixEndpoint{told->second.path});
      return none(told->second.reason);
    }
    if (guest.sent && !is_ordered(guest, endpoint_of(target)))
      return none("ssh carries at most " + std::to_string(ssh_max_targets) +
                  " forwards of one guest");
    return none("ssh is adding the forward");
  }

  std::map<TunnelTarget, std::string> shown(const Guest& guest) const {
    std::map<TunnelTarget, std::string> texts;
    for (const auto& [target, end] : ends(guest))
      texts.emplace(target, end ? text(*end) : "- " + end.error().message);
    for (const auto& [target, reason] : guest.refusals)
      if (const auto place =
              std::ranges::find(guest.order.targets, target,
                                [](const TunnelTarget& ordered) { return endpoint_of(ordered); });
          place != guest.order.targets.end())
        texts[*place] += " refused: " + reason;
    return texts;
  }

  void changed(const std::string& uuid) {
    changed_.insert(uuid);
    if (!telling_) telling_ = after(milliseconds(0), [this] { tell(); });
  }

  void tell() {
    telling_.reset();
    for (const std::string& uuid : std::exchange(changed_, {})) {
      const auto found = guests_.find(uuid);
      if (found == guests_.end()) continue;
      auto now = shown(found->second);
      if (now == found->second.shown) continue;
      found->second.shown = std::move(now);
      observer_.tunnels_changed(Transport::ssh, uuid);
    }
  }

  const Connect connect_;
  Observer& observer_;
  State state_ = State::idle;
  bool settled_ = false;
  bool synced_ = false;  // by this daemon, ever
  std::map<std::string, Guest> guests_;
  std::string trouble_;  // why there is no connection
  std::unique_ptr<PacketChannel> channel_;
  std::set<std::string> changed_;
  std::function<void()> on_ended_;
  milliseconds delay_{0};
  gint64 ready_since_ = 0;
  Source retry_;
  Source deadline_;
  Source idle_;
  Source telling_;
};

SshTunnels::SshTunnels(Connect connect, Observer& observer)
    : implementation_(std::make_unique<Implementation>(std::move(connect), observer)) {}

SshTunnels::~SshTunnels() = default;

void SshTunnels::settled() {
  implementation_->settled();
}

void SshTunnels::order(TunnelOrder order) {
  implementation_->order(std::move(order));
}

void SshTunnels::forget(const std::string& uuid) {
  implementation_->forget(uuid);
}

TunnelEnds SshTunnels::ends(const std::string& uuid) const {
  return implementation_->ends(uuid);
}

std::map<TunnelTarget, std::string> SshTunnels::refusals(const std::string& uuid) const {
  return implementation_->refusals(uuid);
}

void SshTunnels::shut_down(std::function<void()> done) {
  implementation_->shut_down(std::move(done));
}

}  // namespace vf
