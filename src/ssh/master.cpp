// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/master.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/printable.h"
#include "ssh/command.h"

namespace vf {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t max_reason_bytes = ssh_reason_max_bytes;
constexpr std::size_t max_said_bytes = 4096;

std::string bounded(std::string_view text) {
  return printable(text, max_reason_bytes);
}

}  // namespace

Master::Master(const Places& places, const SshSettings& settings, SshGuest order,
               Observer& observer)
    : places_(places),
      settings_(settings),
      order_(std::move(order)),
      observer_(observer),
      backoff_(settings.first_delay, settings.longest_delay, settings.steady_time) {
  state_.uuid = order_.uuid;
  for (const AgentEndpoint& target : order_.targets)
    forwards_.emplace(target, Forward{});
  begin(milliseconds(0));
}

Master::~Master() {
  stop();
  places_.remove(order_.uuid);
}

void Master::order(SshGuest order) {
  const SshGuest before = std::exchange(order_, std::move(order));
  for (auto& [target, forward] : forwards_)
    forward.wanted = std::ranges::find(order_.targets, target) != order_.targets.end();
  std::erase_if(forwards_, [](const auto& entry) {
    return !entry.second.wanted && entry.second.step == Step::absent;
  });
  for (const AgentEndpoint& target : order_.targets)
    forwards_.emplace(target, Forward{});

  const bool other_account = before.user != order_.user || before.key_path != order_.key_path;
  const bool runs = ssh_ != nullptr;
  // Whom it is connected to has proven who he is; nobody else is known to be the guest.
  // A guest on vsock alone has addresses that are not known yet.
  const bool addresses_known = std::ranges::any_of(
      order_.destinations,
      [](const RelayEndpoint& one) { return std::holds_alternative<Endpoint>(one); });
  const bool still_there =
      !addresses_known || !destination_ ||
      std::ranges::find(order_.destinations, *destination_) != order_.destinations.end();
  if (runs ? other_account || !still_there
           : other_account || before.destinations != order_.destinations) {
    if (runs) lost(other_account ? "the account has changed" : "the guest's address has changed");
    backoff_.reset();
    begin(milliseconds(0));
  } else if (state_.phase == SshPhase::up) {
    again_ = after(milliseconds(0), [this] {
      again_.reset();
      next_operation();
    });
  }
}

std::vector<SshTunnel> Master::tunnels() const {
  std::vector<SshTunnel> told;
  for (const auto& [target, forward] : forwards_) {
    if (!forward.wanted) continue;
    if (forward.step == Step::laid)
      told.push_back({order_.uuid, target, places_.tunnel(order_.uuid, target), {}});
    else if (!forward.reason.empty())
      told.push_back({order_.uuid, target, {}, forward.reason});
  }
  return told;
}

// --- the master

void Master::begin(milliseconds delay) {
  next_ = 0;
  reasons_.clear();
  timer_ = after(delay, [this] { attempt(); });
}

void Master::attempt() {
  timer_.reset();
  if (order_.destinations.empty())
    return become(SshPhase::failed, "no way to the guest's ssh server is known");
  if (next_ >= order_.destinations.size()) next_ = 0;
  become(SshPhase::connecting, state_.reason);
  if (auto started = start(); !started) attempt_failed(started.error().message);
}

Result<void> Master::start() {
  if (auto key = check_key(); !key) return key;
  if (auto made = places_.make(order_.uuid); !made) return made;
  destination_ = order_.destinations[next_];
  const auto arguments = master_arguments(
      {settings_.ssh, settings_.own_program, places_.control(order_.uuid),
       places_.known_hosts(order_.uuid), order_.uuid, *destination_, order_.user, order_.key_path});
  if (!arguments) return Unexpected(arguments.error());
  transcript_ = std::make_unique<Transcript>(
      [this](const std::string& target, const std::string& reason) { connection(target, reason); });
  auto started = Child::start(
      *arguments, ssh_environment(order_.key_path.empty()),
      [this](std::string_view bytes) { heard(bytes); }, [this](int status) { ended(status); });
  if (!started) return Unexpected(started.error());
  ssh_ = std::move(*started);
  timer_ = after(settings_.log_in_time, [this] {
    stop();
    attempt_failed("the guest's ssh server did not complete the log-in");
  });
  return {};
}

// ssh's own words for this are several lines; and it does not mind everybody's eyes on what is not
// its own.
Result<void> Master::check_key() const {
  const std::string& path = order_.key_path;
  if (path.empty()) {
    if (settings_.own_keys) return {};
    return Unexpected(
        ErrorCode::not_allowed,
        "no key is named: <ssh identity=\"…\"/> names one that the host policy lists");
  }
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!file || fstat(file.get(), &status) < 0)
    return Unexpected(ErrorCode::not_allowed,
                      system_error(errno, "key " + path).message +
                          " (it must belong to the user of virt-forward-ssh, see "
                          "virt-forward-ssh(8))");
  if (!S_ISREG(status.st_mode))
    return Unexpected(ErrorCode::not_allowed, "key " + path + ": not a file");
  if ((status.st_mode & 077) != 0)
    return Unexpected(ErrorCode::not_allowed,
                      "key " + path + ": others can read it; chmod 600 mends that");
  return {};
}

void Master::heard(std::string_view bytes) {
  transcript_->take(bytes);
  if (state_.phase != SshPhase::connecting || !ssh_) return;
  // The socket is made when the log-in is complete, and ssh goes on to say so.
  struct stat status {};
  if (lstat(places_.control(order_.uuid).c_str(), &status) == 0) logged_in();
}

void Master::logged_in() {
  // ssh goes on without having pinned the key.
  if (transcript_->key_not_pinned() || !places_.pinned(order_.uuid)) {
    stop();
    return attempt_failed("the guest's host key cannot be kept in " +
                          places_.known_hosts(order_.uuid));
  }
  timer_.reset();
  reasons_.clear();
  up_since_ = std::chrono::steady_clock::now();
  become(SshPhase::up, {});
  next_operation();
}

void Master::ended(int status) {
  ssh_.reset();
  const std::string reason = failure(exit_text(status));
  if (state_.phase == SshPhase::up)
    lost(reason);
  else
    attempt_failed(reason);
}

std::string Master::failure(std::string_view end) const {
  const std::string told = transcript_->reason();
  if (transcript_->key_refused() && places_.pinned(order_.uuid))
    return "the guest's host key is not the one of the first contact: if it was made anew "
           "(reinstalled), remove " +
           places_.known_hosts(order_.uuid) + "; otherwise somebody else answers";
  return told.empty() ? "ssh " + std::string(end) : told;
}

void Master::attempt_failed(std::string reason) {
  timer_.reset();
  if (reasons_.find(reason) == reasons_.npos) reasons_ += (reasons_.empty() ? "" : "; ") + reason;
  if (++next_ < order_.destinations.size()) {
    timer_ = after(milliseconds(0), [this] { attempt(); });
    return;
  }
  lost(std::exchange(reasons_, {}));
}

// No master is there any more: the next one after the delay.
void Master::lost(std::string reason) {
  milliseconds up_for{0};
  if (state_.phase == SshPhase::up)
    up_for = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - up_since_);
  stop();
  become(SshPhase::failed, bounded(reason));
  begin(backoff_.next(up_for));
}

void Master::stop() {
  timer_.reset();
  again_.reset();
  retry_.reset();
  operation_.reset();
  ssh_.reset();
  for (auto& [target, forward] : forwards_)
    forward = {Step::absent, forward.wanted, false, {}, {}};
  std::erase_if(forwards_, [](const auto& entry) { return !entry.second.wanted; });
}

void Master::become(SshPhase phase, std::string reason) {
  if (state_.phase == phase && state_.reason == reason) return;
  state_.phase = phase;
  state_.reason = std::move(reason);
  // Never inside a call: what is true by then is told.
  telling_ = after(milliseconds(0), [this] { observer_.state_changed(state_); });
}

// --- forwards

void Master::next_operation() {
  if (operation_ || state_.phase != SshPhase::up) return;
  const auto next = std::ranges::find_if(forwards_, [](const auto& entry) {
    const Forward& forward = entry.second;
    return forward.wanted ? forward.step == Step::absent && !forward.waits
                          : forward.step == Step::laid;
  });
  if (next != forwards_.end()) operate(next);
}

void Master::operate(Forwards::iterator at) {
  Forward& forward = at->second;
  const auto what = forward.wanted ? ForwardOperation::forward : ForwardOperation::cancel;
  const auto arguments = forward_arguments(settings_.ssh, what, places_.control(order_.uuid),
                                           places_.tunnel(order_.uuid, at->first), at->first);
  if (!arguments) return forward_failed(at, arguments.error().message);
  forward.step = forward.wanted ? Step::adding : Step::taking;
  operated_ = at->first;
  said_.clear();
  auto started = Child::start(
      *arguments, ssh_environment(false),
      [this](std::string_view bytes) { said_ += bytes.substr(0, max_said_bytes - said_.size()); },
      [this](int status) { operated(status); });
  if (!started) {
    forward.step = forward.wanted ? Step::absent : Step::laid;
    return forward_failed(at, started.error().message);
  }
  operation_ = std::move(*started);
}

void Master::operated(int status) {
  operation_.reset();
  const auto at = forwards_.find(operated_);
  Forward& forward = at->second;
  if (std::exchange(forward.step, Step::absent) == Step::taking) {
    // What was carried goes on; nobody new comes in.
    unlink(places_.tunnel(order_.uuid, operated_).c_str());
    if (!forward.wanted) forwards_.erase(at);
  } else if (status != 0) {
    std::string reason = transcript_->reason();
    if (reason.empty()) reason = bounded(said_.substr(0, said_.find('\n')));
    if (reason.empty()) reason = "ssh " + exit_text(status);
    return forward_failed(at, std::move(reason));
  } else {
    forward.step = Step::laid;
    forward.reason.clear();
    if (forward.wanted) tell(operated_, forward);
  }
  next_operation();
}

void Master::forward_failed(Forwards::iterator at, std::string reason) {
  Forward& forward = at->second;
  if (!forward.wanted && forward.step == Step::absent) {
    forwards_.erase(at);
  } else {
    forward.waits = true;
    if (std::exchange(forward.reason, std::move(reason)) != forward.reason)
      tell(at->first, forward);
    if (!retry_)
      retry_ = after(settings_.forward_again, [this] {
        retry_.reset();
        for (auto& [target, one] : forwards_)
          one.waits = false;
        next_operation();
      });
  }
  next_operation();
}

void Master::connection(const std::string& target, const std::string& reason) {
  const auto at = std::ranges::find_if(forwards_, [&](const auto& entry) {
    return entry.second.wanted && entry.second.refused != reason &&
           log_spelling(entry.first) == target;
  });
  if (at == forwards_.end()) return;
  at->second.refused = reason;
  observer_.connection_ended({order_.uuid, at->first, bounded(reason)});
}

void Master::tell(const AgentEndpoint& target, const Forward& forward) {
  const bool laid = forward.step == Step::laid;
  observer_.tunnel_changed({order_.uuid, target,
                            laid ? places_.tunnel(order_.uuid, target) : std::string(),
                            laid ? std::string() : forward.reason});
}

}  // namespace vf
