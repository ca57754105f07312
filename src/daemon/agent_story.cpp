// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/agent_story.h"

#include "daemon/journal.h"

namespace vf {
namespace {

// An agent that is upgraded and a guest that reboots are told in full.
constexpr unsigned told_in_full = 3;

}  // namespace

AgentStory::AgentStory(std::string domain, std::chrono::milliseconds rest)
    : domain_(std::move(domain)), rest_(rest) {}

void AgentStory::came(const std::string& program) {
  here_ = true;
  if (went_ <= told_in_full)
    log(LogLevel::info, "the guest's agent answers", {{"domain", domain_}, {"agent", program}});
  happened();
}

void AgentStory::went(const std::string& reason) {
  here_ = false;
  ++went_;
  if (went_ <= told_in_full)
    log(LogLevel::info, "the guest's agent is away", {{"domain", domain_}, {"reason", reason}});
  else if (went_ == told_in_full + 1)
    log(LogLevel::warning, "the guest's agent comes and goes: the log is silent until that is over",
        {{"domain", domain_}, {"reason", reason}});
  happened();
}

void AgentStory::end() {
  resting_.reset();
  const unsigned times = std::exchange(went_, 0);
  if (times <= told_in_full) return;
  log(LogLevel::info,
      here_ ? "the guest's agent answers and stays" : "the guest's agent is away and stays so",
      {{"domain", domain_}, {"went", std::to_string(times)}});
}

void AgentStory::happened() {
  resting_ = after(rest_, [this] { end(); });
}

}  // namespace vf
