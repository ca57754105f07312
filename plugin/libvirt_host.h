// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One libvirt connection, kept up: opens, watches, notices its death, reconnects with back-off and
// reads everything anew after each reconnect. Blocking calls run in a worker, never on the main
// loop. Every function here is called on the main context's thread, and so is every callback.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "plugin/domain_snapshot.h"

namespace vf {

// Which metadata an edit goes to; at least one of them.
struct MetadataTarget {
  bool live = false;
  bool config = false;
};

class LibvirtHost {
 public:
  // What the host reports. A snapshot is only reported when it differs from the last one.
  struct Observer {
    virtual ~Observer() = default;
    // All domains, after each (re)connect and at each slow periodic resync. A domain that is not
    // in it is gone.
    virtual void resynced(const std::vector<DomainSnapshot>& domains) = 0;
    virtual void domain_changed(const DomainSnapshot& domain) = 0;
    virtual void domain_gone(const std::string& uuid) = 0;
    // Trusted addresses of a running domain, best first (DESIGN: "Guest addresses"); none once it
    // has stopped. Goes on while the connection is down: the kernel tells, not libvirt.
    virtual void addresses_changed(const std::string& uuid,
                                   const std::vector<IpAddress>& addresses) = 0;
    // The guest began anew within its run: whoever was connected to it by vsock is not told.
    virtual void guest_reset(const std::string& uuid) = 0;
    // `reason` is empty when the connection came up. While it is down nothing is known to change,
    // and the last snapshots stand.
    virtual void connection_changed(bool connected, const std::string& reason) = 0;
  };

  // Nothing happens before start(); `uri` as in virsh ("qemu:///system").
  LibvirtHost(std::string uri, Observer& observer);
  ~LibvirtHost();
  LibvirtHost(const LibvirtHost&) = delete;
  LibvirtHost& operator=(const LibvirtHost&) = delete;

  void start();
  bool connected() const;
  const std::string& uri() const;

  // "Something may have changed": reads one domain again, soon. Calls coalesce.
  void refresh(const std::string& uuid);
  void refresh_all();
  // What a `prepare` hook proves: `run` of the domain (libvirt's number) is about to begin, and at
  // `moment` (CLOCK_MONOTONIC) no other ran. One known from before is over: that is reported before
  // this returns, with a connection or without, and no reading from before the moment undoes it. A
  // message that comes late never ends the run that it announced, nor a later one.
  void starting(const std::string& uuid, int run, std::chrono::nanoseconds moment);
  // Calls `done` when all that libvirt knew at the time of this call has been reported: later than
  // now and soon, by reading all domains. Also when the connection is down or goes down meanwhile.
  void catch_up(std::function<void()> done);

  // One command (JSON) for the QEMU guest agent of a domain. The reply is the guest's own text: not
  // looked at here. Errors: NoSuchDomain, and Failed where the agent does not answer in time or
  // refuses. Once the host is destroyed, or its connection is lost, `done` is not called any more.
  void ask_qemu_agent(const std::string& uuid, std::string command,
                      std::function<void(Result<std::string>)> done);

  // One command for the human monitor of a domain's QEMU, and all that it prints: errors too, which
  // are no errors here. Errors: NoSuchDomain, NotAllowed, NotSupported (not QEMU's), and Failed
  // where libvirt is not there or QEMU not running. A QEMU that is stopped answers when it goes on.
  // Once the host is destroyed `done` is not called any more. Taints the domain ("custom-monitor").
  void human_monitor(const std::string& uuid, std::string command,
                     std::function<void(Result<std::string>)> done);

  // Replaces our element of one domain: reads it, asks `edit` for the new element (empty: remove
  // it), writes, reads back and tries again when another writer came between, a few times. Edits
  // of one domain run one after the other. `edit` runs in the worker: it may not touch the caller.
  // With both targets each is edited from its own present content, and both are written or neither.
  // The change is reported before `done` hears of it; after an error both sides are as they were,
  // or its text says which is not.
  // Errors: NoSuchDomain, DomainNotRunning (live asked, not running), NotAllowed, Failed, and
  // whatever `edit` returned. Once the host is destroyed `done` is not called any more.
  using Edit = std::function<Result<std::string>(const std::string& element)>;
  void edit_metadata(const std::string& uuid, MetadataTarget target, Edit edit,
                     std::function<void(Result<void>)> done);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
