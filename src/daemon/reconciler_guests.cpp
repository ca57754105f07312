// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reconciler: the agents in the guests, and what they tell of their ports.

#include <algorithm>
#include <utility>

#include "daemon/reconciler.h"
#include "wire/guest.h"

namespace vf {
namespace {

using std::chrono::milliseconds;

// An agent that is started anew is back before that; what it told stands meanwhile.
constexpr std::chrono::seconds agent_grace{10};

// What took long may only have been held up.
constexpr gint64 longest_judge_pause = 500'000;  // microseconds

std::string word_for(const RelayGuestDown& down) {
  if (down.fault != RelayGuestFault::refused) return "not-answering";
  return static_cast<GuestStatus>(down.status) == GuestStatus::version ? "version" : "refused";
}

std::string in_words(const RelayGuestDown& down) {
  switch (down.fault) {
    case RelayGuestFault::ended:
      return down.error_number == 0 ? "it has ended"
                                    : system_error(down.error_number, "its stream").message;
    case RelayGuestFault::not_understood:
      return "it does not keep to the protocol";
    case RelayGuestFault::refused:
      break;
  }
  switch (static_cast<GuestStatus>(down.status)) {
    case GuestStatus::version:
      return "it speaks protocol " + std::to_string(down.version) + ", this host " +
             std::to_string(guest_protocol_version) + ": install the same version in the guest";
    case GuestStatus::not_privileged:
      return "it serves privileged daemons only; its configuration can allow others";
    case GuestStatus::denied:
      return "the guest's administrator does not allow it";
    case GuestStatus::busy:
      return "it has too many connections";
    default:
      return "it refuses with status " + std::to_string(down.status);
  }
}

}  // namespace

std::optional<RelayEndpoint> Reconciler::agent_of(const DomainSnapshot& domain) const {
  if (!domain.active || !domain.serving) return std::nullopt;
  if (!agent_directory_.empty()) return UnixEndpoint{agent_directory_ + '/' + domain.uuid};
  if (domain.vsock_cid) return VsockEndpoint{*domain.vsock_cid, guest_agent_port};
  return std::nullopt;
}

// Before the record is reconciled.
void Reconciler::watch_agent(DomainRecord& record) {
  const std::string& uuid = record.snapshot().uuid;
  const auto agent = agent_of(record.snapshot());
  if (!agent) {
    guests_.forget(uuid);
    if (const auto story = agent_stories_.find(uuid); story != agent_stories_.end()) {
      story->second.end();
      agent_stories_.erase(story);
    }
    if (relay_ && record.agent() != AgentState::no_device) relay_->close_guest(uuid);
    record.agent_loss.reset();
    return record.set_agent(AgentState::no_device);
  }
  if (record.agent() == AgentState::no_device)
    record.set_agent(AgentState::absent, std::string(agent_connecting), "it has not answered yet");
  if (relay_ && record.agent() == AgentState::present)
    relay_->guest_wants(uuid, record.wants_udp());
  guests_.watch(uuid, *agent);
}

void Reconciler::use_qemu_agents(AskQemuAgent ask) {
  qemu_agents_.emplace(QemuAgentReader::Outside{
      std::move(ask),
      [this](RelayAgentReply reply) { return relay_ && relay_->agent_reply(std::move(reply)); },
      [this](const std::string& uuid, const std::string& problem) {
        DomainRecord* const record = domain(uuid);
        if (!record) return;
        record->set_qemu_agent(problem.empty(), problem);
        guest_changed(uuid);
      }});
}

void Reconciler::agent_answer(const RelayAgentAnswer& answer) {
  if (qemu_agents_) qemu_agents_->answered(answer);
}

void Reconciler::watch_qemu_agent(DomainRecord& record) {
  if (!qemu_agents_) return;
  const std::string& uuid = record.snapshot().uuid;
  if (record.wants_qemu_agent(policy_)) return qemu_agents_->watch(uuid, record.wants_udp());
  qemu_agents_->forget(uuid);
  record.set_qemu_agent(false, {});
}

void Reconciler::agent_reached(const std::string& uuid, const RelayEndpoint& agent, Fd control) {
  DomainRecord* const record = domain(uuid);
  if (!record || !relay_ || !relay_->ready()) return;  // relay_ready() begins anew
  relay_->open_guest(uuid, agent, record->wants_udp(), std::move(control));
}

void Reconciler::agent_missed(const std::string& uuid, const std::string& reason) {
  agent_away(uuid, "not-answering", reason);
}

void Reconciler::guest_up(const RelayGuestUp& up) {
  DomainRecord* const record = domain(up.guest);
  if (!record || record->agent() == AgentState::no_device) return;
  record->set_agent(AgentState::present);
  record->agent_loss.reset();
  watch_qemu_agent(*record);
  agent_story(*record).came(up.program);
  reconcile({up.guest});
}

// The stream to its agent stays silent for ever; the relay ends what went through the old agent
// when another one answers.
void Reconciler::guest_reset(const std::string& uuid) {
  guests_.lost(uuid);
  agent_away(uuid, "not-answering", "the guest has rebooted");
}

void Reconciler::guest_down(const RelayGuestDown& down) {
  guests_.lost(down.guest);
  agent_away(down.guest, word_for(down), in_words(down));
}

AgentStory& Reconciler::agent_story(const DomainRecord& record) {
  const DomainSnapshot& domain = record.snapshot();
  return agent_stories_.try_emplace(domain.uuid, domain.name).first->second;
}

void Reconciler::agent_away(const std::string& uuid, const std::string& word,
                            const std::string& reason) {
  DomainRecord* const record = domain(uuid);
  if (!record || record->agent() == AgentState::no_device) return;
  const bool was_there = record->agent() == AgentState::present;
  if (!was_there) {
    record->set_agent(AgentState::absent, word, reason);
    return reconcile({uuid});
  }
  // Its forwards stay as they are: the relay lets who connects wait for it.
  auto& loss = record->agent_loss;
  if (!loss || loss->reason != reason) agent_story(*record).went(reason);
  Source timeout =
      loss ? std::move(loss->timeout) : after(agent_grace, [this, uuid] { agent_lost(uuid); });
  loss = {word, reason, std::move(timeout)};
}

void Reconciler::agent_lost(const std::string& uuid) {
  DomainRecord* const record = domain(uuid);
  if (!record || !record->agent_loss) return;
  const auto loss = std::exchange(record->agent_loss, std::nullopt);
  record->set_agent(AgentState::absent, loss->word, loss->reason);
  record->guest_ports().clear();
  if (relay_) relay_->close_guest(uuid);
  guests_.lost(uuid);
  watch_qemu_agent(*record);
  guest_changed(uuid);
}

void Reconciler::guest_listener(const RelayGuestListener& listener) {
  DomainRecord* const record = domain(listener.guest);
  if (!record || !record->snapshot().active) return;
  record->guest_ports().heard(listener.listener);
  guest_changed(listener.guest);
}

void Reconciler::guest_gone(const RelayGuestGone& gone) {
  DomainRecord* const record = domain(gone.guest);
  if (!record) return;
  record->guest_ports().gone(gone.key);
  guest_changed(gone.guest);
}

void Reconciler::guest_synced(const RelayGuestSynced& synced) {
  DomainRecord* const record = domain(synced.guest);
  if (!record || !record->snapshot().active) return;
  record->guest_ports().synced(synced.left_out, synced.slowed);
  // The relay counts anew with each opening of a guest, and with each relay.
  std::uint64_t& told = slowed_told_[synced.guest];
  reports_slowed_ += synced.slowed - (synced.slowed >= told ? told : 0);
  told = synced.slowed;
  guest_changed(synced.guest);
}

std::uint64_t Reconciler::guest_ports_left_out() const {
  std::uint64_t left_out = 0;
  for (const auto& [uuid, record] : records_)
    left_out += record.guest_ports().left_out();
  return left_out;
}

// What is heard of guests in one turn of the loop is judged together: at once after a pause, and
// where there is none in at most a fifth of the time.
void Reconciler::guest_changed(const std::string& uuid) {
  judged_again_.insert(uuid);
  if (judging_) return;
  const gint64 pause = std::max<gint64>(judge_next_ - g_get_monotonic_time(), 0);
  judging_ = after(milliseconds((pause + 999) / 1000), [this] {
    judging_.reset();
    const gint64 began = g_get_monotonic_time();
    judge_guests();
    const gint64 ended = g_get_monotonic_time();
    judge_next_ = ended + std::min<gint64>(4 * (ended - began), longest_judge_pause);
  });
}

void Reconciler::judge_guests() {
  const Uuids uuids = std::exchange(judged_again_, {});
  for (const std::string& uuid : uuids)
    if (DomainRecord* const record = domain(uuid)) record->judge(policy_, g_get_monotonic_time());
  reconcile(uuids);
  drop_unclaimed();
  plan_judgement();
}

// When the next grace ends.
void Reconciler::plan_judgement() {
  std::optional<std::int64_t> next;
  for (const auto& [uuid, record] : records_)
    if (const auto end = record.guest_ports().next_end())
      next = std::min(next.value_or(*end), *end);
  grace_over_.reset();
  if (!next) return;
  const auto left = std::max<std::int64_t>(*next - g_get_monotonic_time(), 0);
  grace_over_ = after(milliseconds(left / 1000 + 1), [this] {
    for (const auto& [uuid, record] : records_)
      if (record.guest_ports().next_end()) judged_again_.insert(uuid);
    judge_guests();
  });
}

// An automatic forward that only happens to have the port that is asked for hands its sockets over,
// so nobody is refused meanwhile, and goes elsewhere; who is connected stays so.
bool Reconciler::take_from_guess(const DesiredForward& forward) {
  const HostClaim& claim = forward.claim;
  if (!claim.port || claim.guess) return false;
  for (auto& [uuid, record] : records_)
    for (auto& [id, held] : record.bound) {
      const ActualForward& guess = held.actual;
      if (!guess.claim.guess || guess.port != claim.port ||
          guess.claim.protocol != claim.protocol || guess.claim.addresses != claim.addresses)
        continue;
      offloads_.shrink({uuid}, records_.at(uuid).wanted_offloads(offloads_, ways_, policy_, {id}));
      if (guess.served && relay_) relay_->remove(guess.key, Relay::Removal::drain);
      BoundForward taken{{forward.key, claim, guess.port, {}, false},
                         std::move(held.addresses),
                         std::move(held.listeners)};
      taken.paused = held.paused;
      record.bound.erase(id);
      guest_changed(uuid);
      const auto parts = split_key(forward.key);
      DomainRecord& claimant = records_.at(parts->first);
      claimant.failures.erase(parts->second);
      BoundForward& bound = claimant.bound.emplace(parts->second, std::move(taken)).first->second;
      if (forward.serve) hand_to_relay(bound, forward);
      remember_port(claimant, bound.actual);
      return true;
    }
  return false;
}

// The relay lets go of it, but for its connections.
void Reconciler::withdraw(const std::string& key) {
  BoundForward* const held = bound(key);
  if (!held) return;
  if (relay_) relay_->remove(key, Relay::Removal::drain);
  held->actual.served = false;
  held->failing = 0;
  if (held->actual.claim.protocol != Protocol::tcp) return;
  held->paused = true;
  binder_.pause(held->listeners);
}

// False where the port is lost: a host process has taken it all the same.
bool Reconciler::resume(BoundForward& held) {
  if (!std::exchange(held.paused, false)) return true;
  if (binder_.resume(held.listeners)) return true;
  held.actual.claim = {};  // so that another port is found
  guest_changed(split_key(held.actual.key)->first);
  return false;
}

}  // namespace vf
