// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which forwards the kernel short-cuts, and by what. Judges each forward against what may be taken
// past the relay at all, keeps what is applied, and applies the difference: what goes, goes before
// anything else is done to a domain; what comes, comes last.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/forward_view.h"
#include "core/policy.h"
#include "glib/source.h"
#include "offload/offload.h"

namespace vf {

// A forward as it is served now.
struct OffloadRequest {
  std::string key;
  const ForwardDefinition* spec = nullptr;
  std::vector<IpAddress> host_addresses;  // where it listens; empty: a socket
  std::optional<Port> host_port;
  // Where the last connection got through to the guest, if that was by tcp, and the link of the
  // host that it left by.
  std::optional<Endpoint> guest;
  std::string link;
  std::string obstacle;  // why it may not be taken now, in words; empty: it may
};

// The link of the host that connections to a guest leave by; empty where there is none. Nothing is
// sent.
std::string link_towards(const Endpoint& guest);

// The entries that one forward should have, and what was made of each offload.
struct OffloadChoice {
  Offload kind = Offload::none;
  std::vector<OffloadEntry> entries;
  std::vector<WayView> ways;
};

class Offloads {
 public:
  // `on_change` is called where an offload was lost or came back, `on_failing` where a connection
  // by an entry that is applied did not get through (errno value, or 0: unknown), neither inside a
  // call of this.
  using OnFailing = std::function<void(const std::string& key, int error_number)>;
  Offloads(std::function<void()> on_change, OnFailing on_failing)
      : on_change_(std::move(on_change)), on_failing_(std::move(on_failing)) {}

  // Best first. One that cannot start stays listed with its reason. `with_relay`: not before the
  // relay is ready, which may keep what an earlier daemon left. `when_needed`: it is started for
  // the first forward that has no better one, as being ready already costs the host something.
  enum class Start { now, with_relay, when_needed };
  void add(std::unique_ptr<KernelOffload> offload, Start start = Start::now);

  // Starts those that wait for the relay. What it kept by the names that keepsakes() has; they find
  // the connections of earlier daemons by it.
  void relay_ready(std::map<std::string, Fd> kept);
  // What the relay is to keep for the next daemon.
  std::map<std::string, int> keepsakes() const;

  OffloadChoice choose(const OffloadRequest& request, const Policy& policy) const;

  // By key: what is to be applied of one domain's forwards.
  using Wanted = std::map<std::string, OffloadChoice>;
  // Takes away everything of these domains ("UUID/" begins their keys) that is not wanted so.
  void shrink(const std::set<std::string>& uuids, const Wanted& wanted);
  // Applies what is wanted and not applied yet.
  void grow(const Wanted& wanted);
  // Ends established connections of forwards whose entries are gone.
  void cut(std::span<const std::string> keys);
  // Lets those of a forward that is gone end by themselves.
  void let_go(const std::string& key) { past_.erase(key); }

  // By which a forward is short-cut now, or `none`.
  Offload applied(const std::string& key) const;
  // Connections past the relay, of every forward that had a short-cut since it began; what they
  // carry nobody counts from beginning to end.
  std::map<std::string, std::uint64_t> connections();

 private:
  struct Backend {
    std::unique_ptr<KernelOffload> offload;
    bool started = false;
    bool waits = false;     // for the relay
    bool inherits = false;  // it may have connections of forwards that it never had entries of
    std::string failure;    // why it does not work here or now; empty: it does
  };
  struct Applied {
    Offload kind = Offload::none;
    std::vector<OffloadEntry> entries;
  };

  Backend* backend(Offload kind);
  bool start(Backend& backend);
  void fail(Backend& backend, std::string reason);
  void retry_later();
  void lost(Offload kind, const KernelOffload::Loss& loss);

  std::function<void()> on_change_;
  OnFailing on_failing_;
  std::vector<Backend> backends_;
  std::map<std::string, Applied> applied_;  // by key
  Source retry_;
  Source judged_anew_;
  // By which ones connections of a forward may have been taken since it began.
  std::map<std::string, std::set<Offload>> past_;
  std::map<std::string, std::string> refused_;  // keys whose entries could not be applied, and why
};

}  // namespace vf
