// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "relay/agent_access.h"
#include "wire/guest.h"

namespace vf {

// A connection to a guest's agent until the agent has granted or refused what is asked of it. The
// socket is the caller's; it does not block.
class AgentCall {
 public:
  AgentCall(AgentAccess::Way way, GuestService service, const AgentEndpoint& target);

  // Bytes that are said right behind the request, before there is a reply: those of ours first.
  void lead_in(std::vector<std::uint8_t> bytes) { lead_in_ = std::move(bytes); }
  // Says what there is room for; `client` is all that the client has said. An error shows in
  // answer().
  void say(int fd, std::span<const std::uint8_t> client);

  // 0: granted, and what follows is the other end's. EAGAIN: no answer yet. ENOTCONN: there is no
  // agent any more. ESTALE: it does not know the token. EBUSY. Else why it was refused.
  int answer(int fd);

  const AgentAccess::Way& way() const { return way_; }
  bool asked() const { return said_request_ == request_.size(); }
  // How much of each was said.
  std::size_t said_of_lead_in() const { return said_lead_in_; }
  std::size_t said_of_client() const { return said_client_; }
  // Of the lead-in, what was not.
  std::span<const std::uint8_t> unsaid() const {
    return std::span(lead_in_).subspan(said_lead_in_);
  }

 private:
  const AgentAccess::Way way_;
  const std::array<std::uint8_t, GuestRequest::bytes> request_;
  std::vector<std::uint8_t> lead_in_;
  std::size_t said_request_ = 0;
  std::size_t said_lead_in_ = 0;
  std::size_t said_client_ = 0;
  std::array<std::uint8_t, GuestReply::bytes> reply_{};
  std::size_t replied_ = 0;
};

// At the end of what an agent's connection says, while nothing of ours was ended: whether the other
// end is gone altogether, as it goes by a reset, and not just done with saying.
bool agent_is_gone(int fd);

}  // namespace vf
