// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ports of guests that have QEMU's guest agent and not ours: reads /proc/net/tcp and its kin
// through it, every few seconds. What the guest writes goes to the relay unread, which tells what
// listens as it does of other guests. Main thread only.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "wire/relay.h"

namespace vf {

class QemuAgentReader {
 public:
  struct Outside {
    std::function<void(const std::string& uuid, std::string command,
                       std::function<void(Result<std::string>)> done)>
        ask;
    std::function<bool(RelayAgentReply)> hand_over;
    // A reading has succeeded, or why it has not; not called in a row with the same words.
    std::function<void(const std::string& uuid, const std::string& problem)> told;
  };

  explicit QemuAgentReader(Outside outside);
  ~QemuAgentReader();
  QemuAgentReader(const QemuAgentReader&) = delete;
  QemuAgentReader& operator=(const QemuAgentReader&) = delete;

  // From now on; again with another `udp` for its next reading.
  void watch(const std::string& uuid, bool udp);
  void forget(const std::string& uuid);
  // What the relay made of a reply.
  void answered(const RelayAgentAnswer& answer);

 private:
  struct Guest;
  void begin(Guest& guest);
  void open(Guest& guest);
  void read(Guest& guest);
  void close(Guest& guest);
  void next_file(Guest& guest);
  void ask(Guest& guest, std::string command, RelayAgentStep step);
  bool hand_over(Guest& guest, RelayAgentStep step, std::string text);
  void over(Guest& guest, const std::string& problem);

  const Outside outside_;
  std::map<std::string, std::shared_ptr<Guest>> guests_;
  std::uint64_t sequence_ = 0;
};

}  // namespace vf
