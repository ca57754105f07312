// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Redirection at connect(): an eBPF program at the root of the control groups turns a TCP
// connection to a forward's loopback address, made in this process's network namespace, into one to
// the guest. It costs nothing per byte. The process holds what attaches it; nothing is pinned, so
// that it ends with the process, and clients reach the relay then.

#pragma once

#include <chrono>
#include <memory>

#include "offload/offload.h"

namespace vf {

class RedirectOffload final : public KernelOffload {
 public:
  // While something is applied, every `check` it is seen to that the programs are attached still.
  explicit RedirectOffload(std::chrono::milliseconds check = std::chrono::seconds(2));
  ~RedirectOffload() override;

  Offload kind() const override { return Offload::redirect; }
  // Of connections that do not get through nothing is told without CAP_PERFMON.
  Result<void> start(Events events) override;
  // The marks of the sockets that were redirected.
  const Fd* left() override;
  void inherit(Fd marks) override;
  Result<void> admits(const OffloadEntry& entry) const override;
  Result<void> apply(std::span<const OffloadEntry> gone,
                     std::span<const OffloadEntry> added) override;
  // A connect() that was under way when a forward's last entry went may come to light a little
  // later: it is looked for once more after a second, unless the forward is back by then.
  void cut(std::span<const std::string> keys) override;
  // Connections that one end has closed are counted, those that both have closed are not. Never
  // bytes: nobody counts those of connections that have ended.
  Result<std::map<std::string, Count>> counts() override;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vf
