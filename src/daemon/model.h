// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the daemon shows and what it can be asked: the seam between the reconciler and the D-Bus
// service. Main thread only.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "core/forward_view.h"
#include "core/statistics.h"

namespace vf {

// Where an edit goes, virsh's way. None set: live when the domain runs, else DomainNotRunning.
struct EditScope {
  bool live = false;
  bool config = false;
  bool persistent = false;  // live (if it runs) and config
};

using ForwardAttributes = std::vector<std::pair<std::string, std::string>>;

// Read side: stable between two calls of an observer.
class Model {
 public:
  struct Observer {
    virtual ~Observer() = default;
    virtual void domain_added(const DomainView& domain) = 0;
    virtual void domain_changed(const DomainView& domain) = 0;
    virtual void domain_removed(const DomainView& domain) = 0;
    virtual void forward_added(const ForwardView& forward) = 0;
    virtual void forward_changed(const ForwardView& forward) = 0;
    virtual void forward_removed(const ForwardView& forward) = 0;
    virtual void port_added(const PortView& port) = 0;
    virtual void port_changed(const PortView& port) = 0;
    virtual void port_removed(const PortView& port) = 0;
    virtual void daemon_changed() = 0;  // connection to libvirt or to the relay
  };

  virtual ~Model() = default;
  virtual std::vector<DomainView> domains() const = 0;
  virtual std::vector<ForwardView> forwards(const std::string& uuid) const = 0;
  virtual std::vector<PortView> ports(const std::string& uuid) const = 0;
  virtual const PortView* port(const std::string& uuid, const std::string& id) const = 0;
  virtual const DomainView* domain(const std::string& uuid) const = 0;
  virtual const ForwardView* forward(const std::string& uuid, const std::string& id) const = 0;
  virtual bool libvirt_connected() const = 0;
  // Why there is no connection to libvirt; empty while there is one, and until the first attempt
  // has been answered.
  virtual std::string libvirt_reason() const = 0;
  virtual bool relay_connected() const = 0;
  virtual std::string connection_uri() const = 0;
  // When a hook of libvirt last said something, Unix time in seconds; changes untold.
  virtual std::optional<std::int64_t> hook_heard() const = 0;
  // One observer; null to take it away.
  virtual void observe(Observer* observer) = 0;
};

class Controller {
 public:
  virtual ~Controller() = default;

  // Calls `done` when the model shows all that libvirt knew at the time of this call: a domain that
  // somebody has just defined or started. While the daemon first connects to libvirt and to the
  // relay, that is when this has come to an end; without a connection to libvirt it does not wait
  // for one.
  virtual void catch_up(std::function<void()> done) = 0;
  // The same without another look at libvirt where there is a connection.
  virtual void settle(std::function<void()> done) = 0;

  // Adds all of the forwards or none; attributes as of <forward>. Done when their ports are bound,
  // or when the edit is stored where the domain does not run. Of each what came of it (several for
  // a range). Errors: InvalidArgument, NoSuchDomain, DomainNotRunning, PortBusy, NotAllowed,
  // NotSupported, Failed; one that is about a single one of them says so (of_entry()). After an
  // error the metadata is as it was.
  using Added = std::vector<std::vector<ForwardView>>;
  virtual void add_forwards(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
                            EditScope scope, std::function<void(Result<Added>)> done) = 0;

  // What add_forwards() would answer now: the same errors, and the forwards with the ports that
  // they would get. Nothing is changed or kept for it.
  virtual void try_forwards(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
                            EditScope scope, std::function<void(Result<Added>)> done) = 0;

  // Sets attributes of the definition of `forward` (as of remove_forward()) where the scope has it;
  // an empty value takes one away. What does not listen elsewhere afterwards cuts nothing. The
  // forwards as they are then. Errors: as of both.
  virtual void change_forward(const std::string& uuid, const std::string& forward,
                              const ForwardAttributes& attributes, EditScope scope,
                              std::function<void(Result<std::vector<ForwardView>>)> done) = 0;

  // `forward` is an id or a definition's identity. Done when the listener and, unless `drain`, its
  // connections are gone. Errors: NoSuchForward, NoSuchDomain, DomainNotRunning, Failed.
  virtual void remove_forward(const std::string& uuid, const std::string& forward, EditScope scope,
                              bool drain, std::function<void(Result<void>)> done) = 0;

  // Blocks ports by a marked rule in front of all others, takes ports out of such rules, sets the
  // switch of <auto>. A scope without anything set: live where the domain runs, and config where it
  // is persistent. Done when what follows of it is so. Errors: InvalidArgument, NoSuchDomain,
  // DomainNotRunning, Failed; of unblock also NoSuchForward, where nothing was blocked so.
  virtual void block(const std::string& uuid, Protocol protocol, PortRange ports, EditScope scope,
                     std::function<void(Result<void>)> done) = 0;
  virtual void unblock(const std::string& uuid, Protocol protocol, PortRange ports, EditScope scope,
                       std::function<void(Result<void>)> done) = 0;
  virtual void set_automatic(const std::string& uuid, AutoMode mode, EditScope scope,
                             std::function<void(Result<void>)> done) = 0;

  // Our element of one of a domain's two metadata, as libvirt has it; empty where there is none. A
  // scope without anything set: the live one where the domain runs. Errors: InvalidArgument (both
  // of them, or one that a transient domain has not), NoSuchDomain, DomainNotRunning.
  virtual void metadata(const std::string& uuid, EditScope scope,
                        std::function<void(Result<std::string>)> done) = 0;

  // Forwards ports by a marked rule: with a process (a name) whatever that opens where a rule asks
  // about it, else these ports. Ends blocks of these ports. A scope without anything set: live, and
  // with a process config too where the domain is persistent. Done as above. Errors as of
  // unblock().
  virtual void allow(const std::string& uuid, Protocol protocol, PortRange ports,
                     const std::string& process, EditScope scope,
                     std::function<void(Result<void>)> done) = 0;
  // Takes back what allow() made: of `process`, at any of these ports; without one, of these ports
  // and of the processes that have them open. Scope, done and errors as of unblock().
  virtual void disallow(const std::string& uuid, Protocol protocol, PortRange ports,
                        const std::string& process, EditScope scope,
                        std::function<void(Result<void>)> done) = 0;

  virtual void counters(const std::string& uuid, const std::string& id,
                        std::function<void(Result<ForwardCounters>)> done) = 0;

  // Of every forward that is counted, with one question to the relay.
  struct Counted {
    std::string uuid;
    std::string id;
    ForwardCounters counters;
  };
  virtual void all_counters(std::function<void(Result<std::vector<Counted>>)> done) = 0;

  // What can be told now: without a relay it is less.
  virtual void statistics(std::function<void(const DaemonStatistics&)> done) = 0;
};

}  // namespace vf
