// SPDX-License-Identifier: LGPL-2.1-or-later

#include "reconciler_fakes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

namespace vf {
namespace {

std::vector<Fd> duplicates(const std::vector<int>& fds) {
  std::vector<Fd> result;
  for (const int fd : fds)
    result.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return result;
}

}  // namespace

bool FakePorts::is_bound(unsigned number, Protocol protocol) {
  const auto [first, last] = watched_.equal_range({protocol, number});
  for (auto entry = first; entry != last;) {
    pollfd closed{entry->second.get(), 0, 0};
    if (poll(&closed, 1, 0) == 1)
      entry = watched_.erase(entry);
    else
      return true;
  }
  return false;
}

Result<BoundPort> FakePorts::bind(const HostClaim& claim, std::optional<Port> port) {
  unsigned number = port ? port->number() : 40000;
  const auto busy = [&] {
    return (claim.protocol == Protocol::tcp && held_by_others.contains(number)) ||
           is_bound(number, claim.protocol);
  };
  while (!port && busy())
    ++number;
  if (busy()) return Unexpected(ErrorCode::port_busy, std::to_string(number) + " is in use");
  BoundPort bound{*Port::from(number), claim.addresses, {}};
  for (std::size_t count = 0; count < claim.addresses.size(); ++count) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    watched_.emplace(std::pair(claim.protocol, number), Fd(ends[0]));
    bound.listeners.emplace_back(ends[1]);
  }
  return bound;
}

void FakeRelay::add(const RelayForward& forward, const std::vector<int>& listeners) {
  auto shared = std::make_shared<std::vector<Fd>>(duplicates(listeners));
  staged_.push_back([this, forward, shared] {
    applied.push_back('+' + forward.key);
    forwards[forward.key] = forward;
    listeners_[forward.key] = std::move(*shared);
  });
}

void FakeRelay::update(const RelayForward& forward) {
  staged_.push_back([this, forward] {
    applied.push_back('~' + forward.key);
    forwards[forward.key] = forward;
  });
}

void FakeRelay::remove(const std::string& key, Removal removal) {
  staged_.push_back([this, key, removal] {
    applied.push_back('-' + key + (removal == Removal::drain ? " drain" : ""));
    forwards.erase(key);
    listeners_.erase(key);
  });
}

void FakeRelay::commit(std::function<void()> done) {
  if (done) done_.push_back(std::move(done));
  if (!slow) apply();
}

void FakeRelay::apply() {
  while (!staged_.empty() || !done_.empty()) {
    for (const auto& operation : std::exchange(staged_, {}))
      operation();
    for (const auto& done : std::exchange(done_, {}))
      done();
  }
}

std::vector<HeldForward> FakeRelay::held() const {
  std::vector<HeldForward> result;
  for (const auto& [key, forward] : forwards) {
    std::vector<int> numbers;
    for (const Fd& fd : listeners_.at(key))
      numbers.push_back(fd.get());
    result.push_back({forward, duplicates(numbers)});
  }
  return result;
}

}  // namespace vf
