// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/guests.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace vf {
namespace {

// For a daemon that is started anew to open its guests.
constexpr std::chrono::milliseconds daemon_patience{60'000};
// The daemon is told that it is not told everything so often, in turns.
constexpr std::uint64_t slowed_told_every = 10;

}  // namespace

class Guests::Guest final : private GuestSession::Observer {
 public:
  Guest(Guests& guests, std::string name, std::shared_ptr<AgentAccess> access)
      : name_(std::move(name)), guests_(guests), access_(std::move(access)) {}

  void open(RelayGuestOpen open) {
    session_.reset();
    // With the same agent at the other end the token still holds.
    if (!access_->leads_to(open.agent)) access_->await();
    tells_ = false;
    abandoned_ = false;
    GuestSession::Observer& observer = *this;
    session_ = std::make_unique<GuestSession>(std::move(open.control.front()),
                                              std::move(open.agent), open.wants_udp, access_,
                                              ledger_, observer, guests_.context_.get());
  }
  void wants(bool udp) {
    if (session_) session_->wants(udp);
  }
  void close() { access_->close(ENOTCONN); }
  AgentReplyReader::Answer read(RelayAgentStep step, const std::string& text) {
    if (step == RelayAgentStep::begin) {
      tells_ = true;
      abandoned_ = false;
      allowance_ = first_account;
    }
    return reader_.read(step, text, ledger_);
  }
  // Its daemon has gone. False: nothing is left.
  bool abandon() {
    ledger_.clear();
    tells_ = false;
    abandoned_ = true;
    return session_ != nullptr;
  }
  bool abandoned() const { return abandoned_; }

  bool has_news() const { return tells_ && ledger_.has_news(); }
  // Tells what there is, as far as it may; the rest waits for the next turn.
  void tell_news() {
    RelayPacket packet;
    while (has_news() && guests_.outlet_.takes_news()) {
      if (!may_tell()) {
        put(packet, slowed());
        break;
      }
      const auto news = ledger_.next();
      if (!news) break;
      put(packet, message_of(*news));
    }
    if (!packet.empty()) guests_.outlet_.tell(std::move(packet));
  }

 private:
  void up(const GuestHello& hello) override {
    if (std::exchange(life_, access_->life()) != access_->life()) guests_.on_new_life_(name_);
    tells_ = !abandoned_;
    allowance_ = first_account;
    if (tells_) guests_.tell(RelayGuestUp{name_, hello.fallback_ms, hello.program});
  }
  void news() override { guests_.tell_news(); }
  void down(RelayGuestDown why) override {
    if (why.fault == RelayGuestFault::not_understood)
      access_->close(EPROTO);
    else if (why.fault == RelayGuestFault::ended)
      access_->await();
    else
      access_->close(refusal(static_cast<GuestStatus>(why.status)));
    tells_ = false;
    why.guest = name_;
    if (!abandoned_) guests_.tell(std::move(why));
    session_.reset();
  }
  static int refusal(GuestStatus status) {
    if (status == GuestStatus::version) return EPROTONOSUPPORT;
    return status == GuestStatus::busy ? EBUSY : EACCES;
  }

  bool may_tell() {
    const gint64 now = g_get_monotonic_time();
    if (now - turn_began_ >= std::chrono::microseconds(turn).count()) {
      turn_began_ = now;
      allowance_ = std::max(allowance_, told_per_turn);
      was_slowed_ = false;
    }
    if (allowance_ == 0) return false;
    --allowance_;
    return true;
  }
  // In between, for what comes without a pause is never all told.
  std::optional<RelayMessage> slowed() {
    if (std::exchange(was_slowed_, true)) return std::nullopt;
    if (slowed_++ % slowed_told_every != 0 || !ledger_.is_complete()) return std::nullopt;
    return synced();
  }
  RelayMessage synced() const { return RelayGuestSynced{name_, ledger_.left_out(), slowed_}; }
  RelayMessage message_of(ListenerLedger::News news) {
    if (auto* listener = std::get_if<GuestListener>(&news))
      return RelayGuestListener{name_, std::move(*listener)};
    if (const auto* key = std::get_if<ListenerKey>(&news)) return RelayGuestGone{name_, *key};
    allowance_ = std::min(allowance_, told_per_turn);  // the first account is told
    return synced();
  }
  void put(RelayPacket& packet, std::optional<RelayMessage> message) {
    if (!message || packet.append(*message)) return;
    guests_.outlet_.tell(std::exchange(packet, {}));
    [[maybe_unused]] const bool fits = packet.append(*message);
  }

  const std::string name_;
  Guests& guests_;
  const std::shared_ptr<AgentAccess> access_;
  ListenerLedger ledger_;
  AgentReplyReader reader_;
  std::unique_ptr<GuestSession> session_;
  std::uint64_t life_ = 0;  // of the agent that was there last
  bool tells_ = false;      // an account has begun
  bool abandoned_ = false;  // by the daemon that opened it
  gint64 turn_began_ = 0;
  std::uint32_t allowance_ = 0;
  bool was_slowed_ = false;  // in this turn
  std::uint64_t slowed_ = 0;
};

Guests::Guests(Outlet& outlet, FindAccess find_access, OnNewLife on_new_life)
    : outlet_(outlet),
      find_access_(std::move(find_access)),
      on_new_life_(std::move(on_new_life)),
      context_(adopt(g_main_context_ref_thread_default())) {}

Guests::~Guests() = default;

Guests::Guest& Guests::guest(const std::string& name) {
  std::unique_ptr<Guest>& guest = guests_[name];
  if (!guest) guest = std::make_unique<Guest>(*this, name, find_access_(name));
  return *guest;
}

void Guests::open(RelayGuestOpen open) {
  guest(open.guest).open(std::move(open));
}

void Guests::wants(const RelayGuestWants& wants) {
  const auto found = guests_.find(wants.guest);
  if (found != guests_.end()) found->second->wants(wants.wants_udp);
}

void Guests::close(const std::string& name) {
  const auto found = guests_.find(name);
  if (found == guests_.end()) return;
  found->second->close();
  guests_.erase(found);
}

RelayAgentAnswer Guests::take(RelayAgentReply reply) {
  if (reply.step == RelayAgentStep::begin) guest(reply.guest);
  const auto found = guests_.find(reply.guest);
  AgentReplyReader::Answer read;
  if (found != guests_.end()) {
    read = found->second->read(reply.step, reply.text);
  } else if (reply.step == RelayAgentStep::number) {
    ListenerLedger none;
    read = AgentReplyReader().read(reply.step, reply.text, none);
  }
  return {std::move(reply.guest), reply.sequence, read.understood, read.number};
}

void Guests::tell(RelayMessage message) {
  RelayPacket packet;
  if (packet.append(message)) outlet_.tell(std::move(packet));
}

void Guests::tell_news() {
  if (!outlet_.takes_news()) return;
  bool more = false;
  // Where the outlet fills up the next one begins.
  auto next = guests_.upper_bound(last_told_);
  for (std::size_t count = guests_.size(); count > 0; --count) {
    if (next == guests_.end()) next = guests_.begin();
    Guest& guest = *next->second;
    if (guest.has_news()) {
      last_told_ = next->first;
      guest.tell_news();
      more = more || guest.has_news();
    }
    if (!outlet_.takes_news()) return;
    ++next;
  }
  if (more && !later_)
    later_ = after(
        turn,
        [this] {
          later_.reset();
          tell_news();
        },
        context_.get());
}

void Guests::daemon_changed() {
  std::erase_if(guests_, [](const auto& one) { return !one.second->abandon(); });
  abandoned_ = after(
      daemon_patience,
      [this] {
        std::erase_if(guests_, [](const auto& one) {
          if (!one.second->abandoned()) return false;
          one.second->close();
          return true;
        });
      },
      context_.get());
}

}  // namespace vf
