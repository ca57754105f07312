// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "relay/listener_ledger.h"
#include "wire/relay.h"

namespace vf {

// What the QEMU guest agent of one guest replies, which is the guest's word: numbers, and pieces of
// /proc/net/tcp and its like, of which the sockets that listen go into the ledger. A table of a
// guest whose processor has its bytes in the other order is misread.
class AgentReplyReader {
 public:
  // Of each file; what is past it is left.
  static constexpr std::size_t max_file_bytes = 4 << 20;

  struct Answer {
    bool understood = false;
    std::int64_t number = 0;
  };
  Answer read(RelayAgentStep step, std::string_view text, ListenerLedger& ledger);

 private:
  static constexpr std::size_t max_line_bytes = 512;

  void begin_file(RelayAgentStep step);
  void take(std::string_view piece, ListenerLedger& ledger);
  void take_line(std::string_view line, ListenerLedger& ledger) const;

  RelayAgentStep file_ = RelayAgentStep::begin;  // that is being read
  std::size_t read_bytes_ = 0;                   // of it
  std::string line_;                             // the last, which goes on in the next piece
};

}  // namespace vf
