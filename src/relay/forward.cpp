// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/forward.h"

#include <algorithm>
#include <utility>

#include "relay/datagram_forward.h"
#include "relay/stream_forward.h"

namespace vf {

std::unique_ptr<Forward> Forward::create(RelayContext& context, RelayForward definition,
                                         std::shared_ptr<ForwardShare> share,
                                         std::vector<Listener::Socket> listeners,
                                         OnDrained on_drained) {
  std::unique_ptr<Forward> forward;
  if (definition.protocol == RelayProtocol::datagram)
    forward = std::make_unique<DatagramForward>(context, std::move(definition), std::move(share),
                                                std::move(on_drained));
  else
    forward = std::make_unique<StreamForward>(context, std::move(definition), std::move(share),
                                              std::move(on_drained));
  forward->replace_listeners(std::move(listeners));
  return forward;
}

bool Forward::serves(RelayProtocol protocol, int fd) {
  return protocol == RelayProtocol::datagram ? DatagramForward::serves(fd) : Listener::serves(fd);
}

Forward::Forward(RelayContext& context, RelayForward definition,
                 std::shared_ptr<ForwardShare> share, OnDrained on_drained)
    : Timer(context.loop),
      context_(context),
      definition_(std::make_shared<const RelayForward>(std::move(definition))),
      share_(std::move(share)),
      on_drained_(std::move(on_drained)) {}

void Forward::redefine(RelayForward definition) {
  definition_ = std::make_shared<const RelayForward>(std::move(definition));
}

RelayCounters Forward::counters() const {
  RelayCounters counters = counters_;
  counters.key = key();
  return counters;
}

// The same again is no news, but that a failure is over.
void Forward::reached(std::size_t endpoint) {
  untold_failure_ = 0;
  share_->preference.worked(endpoint, context_.loop.now());
  const bool proven = share_->proven;
  if (proven && share_->endpoint == endpoint) {
    untold_endpoint_.reset();
    return;
  }
  if (!proven || may_tell(told_proven_)) return tell_proven(endpoint);
  untold_endpoint_ = endpoint;
  arm(std::chrono::microseconds(told_proven_ + G_USEC_PER_SEC - context_.loop.now()));
}

void Forward::missed(int error_number) {
  ++counters_.failures;
  untold_endpoint_.reset();
  if (may_tell(told_failing_)) return tell_failing(error_number);
  untold_failure_ = error_number;
  arm(std::chrono::microseconds(told_failing_ + G_USEC_PER_SEC - context_.loop.now()));
}

void Forward::expired() {
  if (const auto endpoint = std::exchange(untold_endpoint_, {})) {
    told_proven_ = context_.loop.now();
    tell_proven(*endpoint);
  }
  if (untold_failure_ == 0) return;
  told_failing_ = context_.loop.now();
  tell_failing(untold_failure_);
}

void Forward::tell_proven(std::size_t endpoint) {
  const auto told = static_cast<std::uint8_t>(endpoint);
  const bool same = share_->endpoint.exchange(told) == told;
  if (share_->proven.exchange(true) && same) return;
  untold_endpoint_.reset();
  context_.events.proven(key(), endpoint);
}

void Forward::tell_failing(int error_number) {
  untold_failure_ = 0;
  share_->proven = false;
  context_.events.failing(key(), error_number);
}

std::uint32_t EndpointPreference::first(std::size_t endpoints, gint64 now) {
  const std::uint32_t preferred = preferred_;
  if (preferred == 0 || preferred >= endpoints) return 0;
  gint64 until = until_;
  if (now < until) return preferred;
  if (!until_.compare_exchange_strong(until, now + pause_)) return preferred;
  trying_again_ = true;
  return 0;
}

void EndpointPreference::worked(std::size_t endpoint, gint64 now) {
  if (endpoint == 0) pause_ = shortest_pause;
  if (preferred_.exchange(static_cast<std::uint32_t>(endpoint)) != endpoint) until_ = now + pause_;
}

void EndpointPreference::failed(std::size_t endpoint, std::size_t endpoints, gint64 now) {
  if (endpoint + 1 >= endpoints) return;
  auto preferred = static_cast<std::uint32_t>(endpoint);
  if (preferred_.compare_exchange_strong(preferred, preferred + 1)) {
    until_ = now + pause_;
  } else if (endpoint == 0 && trying_again_.exchange(false)) {
    pause_ = std::min(pause_ * 2, longest_pause);
    until_ = now + pause_;
  }
}

void EndpointPreference::forget() {
  preferred_ = 0;
  pause_ = shortest_pause;
}

bool Forward::may_tell(gint64& told) const {
  const gint64 now = context_.loop.now();
  if (told != 0 && now - told < G_USEC_PER_SEC) return false;
  told = now;
  return true;
}

void Forward::tell_drained() {
  if (on_drained_ && drained()) on_drained_(*this);
}

}  // namespace vf
