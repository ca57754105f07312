// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/service.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "base/listening_socket.h"
#include "glib/packet_channel.h"

namespace vf {
namespace {

constexpr std::size_t max_sessions = 8;
constexpr PacketChannel::Limits limits{ssh_packet_max_bytes, 1, 16u << 20};
constexpr std::chrono::milliseconds idle_time{30'000};

}  // namespace

class SshService::Session {
 public:
  Session(SshService& service, Fd socket)
      : service_(service),
        channel_(
            std::move(socket), limits,
            [this](std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
              receive(bytes, std::move(fds));
            },
            [this](const std::string& reason) { service_.closed(*this, reason); }, nullptr,
            nullptr) {
    send(SshHello{ssh_protocol_version, 0, static_cast<std::uint32_t>(getpid())});
  }

  void send(SshMessage message) {
    auto bytes = encode_ssh_message(std::move(message));
    if (!bytes.empty()) channel_.send(std::move(bytes), {});
  }

 private:
  void receive(std::span<const std::uint8_t> bytes, std::vector<Fd> fds) {
    if (ended_) return;
    auto messages = decode_ssh_packet(bytes, std::move(fds));
    if (!messages) return fail(messages.error().message);
    for (SshMessage& message : *messages) {
      if (!std::visit([this](auto& typed) { return take(typed); }, message))
        return fail("it sent a message out of order");
      if (ended_) return;
    }
  }

  // The connection ends in the next turn: this object is still on the stack.
  void fail(const std::string& reason) {
    ended_ = true;
    closing_ =
        after(std::chrono::milliseconds(0), [this, reason] { service_.closed(*this, reason); });
  }

  bool serves() const { return service_.daemon_ == this; }
  bool take(SshHello& hello) {
    if (greeted_) return false;
    greeted_ = true;
    if (hello.version != ssh_protocol_version)
      fail("it speaks protocol " + std::to_string(hello.version) + ", this program " +
           std::to_string(ssh_protocol_version));
    else
      service_.greeted(*this);
    return true;
  }
  bool take(SshGuest& guest) {
    if (!serves()) return false;
    service_.order(std::move(guest));
    return true;
  }
  bool take(SshClose& close) {
    if (!serves()) return false;
    service_.close(close.uuid);
    return true;
  }
  bool take(SshSync&) {
    if (!serves()) return false;
    service_.close_unnamed();
    return true;
  }
  bool take(SshShutDown&) {
    if (!serves()) return false;
    ended_ = true;
    const OnEnd on_end = service_.on_end_;
    on_end();
    return true;
  }
  template <typename Other>
  bool take(Other&) {
    return false;
  }

  SshService& service_;
  PacketChannel channel_;
  bool greeted_ = false;
  bool ended_ = false;
  Source closing_;
};

Result<std::unique_ptr<SshService>> SshService::create(Fd listening, Places places,
                                                       SshSettings settings, Log log,
                                                       OnEnd on_end) {
  auto owner = adopt_control_socket(listening);
  if (!owner) return Unexpected(owner.error());
  return std::unique_ptr<SshService>(new SshService(std::move(listening), *owner, std::move(places),
                                                    std::move(settings), std::move(log),
                                                    std::move(on_end)));
}

SshService::SshService(Fd listening, uid_t owner, Places places, SshSettings settings, Log log,
                       OnEnd on_end)
    : listening_(std::move(listening)),
      owner_(owner),
      places_(std::move(places)),
      settings_(std::move(settings)),
      log_(std::move(log)),
      on_end_(std::move(on_end)) {
  accepting_ = watch_fd(listening_.get(), G_IO_IN, [this](GIOCondition) { accept(); });
  watch_idleness();
}

SshService::~SshService() = default;

void SshService::accept() {
  Fd socket(accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket || !may_control(socket.get()) || sessions_.size() >= max_sessions) return;
  sessions_.push_back(std::make_unique<Session>(*this, std::move(socket)));
  watch_idleness();
}

bool SshService::may_control(int socket) const {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return false;
  if (peer.uid == 0 || peer.uid == owner_) return true;
  log_("control connection refused uid=" + std::to_string(peer.uid));
  return false;
}

void SshService::greeted(Session& session) {
  if (daemon_) closed(*daemon_, "another daemon took over");
  daemon_ = &session;
  named_.clear();
}

void SshService::closed(Session& session, const std::string& reason) {
  if (daemon_ == &session) {
    daemon_ = nullptr;
    log_("daemon disconnected: " + reason);
  }
  std::erase_if(sessions_, [&](const auto& one) { return one.get() == &session; });
  watch_idleness();
}

void SshService::order(SshGuest guest) {
  const std::string uuid = guest.uuid;
  const bool named = !named_.insert(uuid).second;
  auto& master = masters_[uuid];
  Master::Observer& observer = *this;
  if (master)
    master->order(std::move(guest));
  else
    master = std::make_unique<Master>(places_, settings_, std::move(guest), observer);
  if (named) return;
  tell(master->state());
  for (const SshTunnel& tunnel : master->tunnels())
    tell(tunnel);
}

void SshService::close(const std::string& uuid) {
  named_.erase(uuid);
  masters_.erase(uuid);
}

void SshService::close_unnamed() {
  std::erase_if(masters_, [&](const auto& entry) { return !named_.contains(entry.first); });
}

// Whoever wants something again starts it again.
void SshService::watch_idleness() {
  if (!sessions_.empty() || !masters_.empty()) return idle_.reset();
  if (!idle_)
    idle_ = after(idle_time, [this] {
      const OnEnd on_end = on_end_;
      on_end();
    });
}

void SshService::tell(SshMessage message) {
  if (daemon_) daemon_->send(std::move(message));
}

void SshService::state_changed(const SshState& state) {
  const char* const phase = state.phase == SshPhase::up       ? "up"
                            : state.phase == SshPhase::failed ? "failed"
                                                              : nullptr;
  if (phase)
    log_("guest=" + state.uuid + " ssh=" + phase +
         (state.reason.empty() ? "" : " reason=\"" + state.reason + '"'));
  tell(state);
}

}  // namespace vf
