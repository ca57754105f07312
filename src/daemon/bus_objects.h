// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The objects of xml/org.virtforward1.xml on any number of D-Bus connections. Main thread only.
//
// Theory of operation: GDBus's own object manager keeps a skeleton per object and connection. Here
// a connection costs four registrations, however many objects there are: the root's two interfaces,
// and one subtree each for domains and forwards whose nodes are made up from the path when a call
// comes. Properties are registered without a getter, so that Get and GetAll arrive as methods and
// are authorized like every other.
//
// A system bus shows signals to whoever asks the bus for them. So there they are sent to those only
// that polkit let see the objects: a caller of GetManagedObjects is a reader until it leaves the
// bus. Introspection lists objects to readers only, too.

#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/bus_announcer.h"
#include "daemon/bus_authority.h"
#include "daemon/bus_backlog.h"
#include "daemon/bus_methods.h"
#include "daemon/bus_turns.h"

namespace vf {

class BusObjects {
 public:
  struct Limits {
    std::size_t waiting_of_one = 1024;  // for their turn, of one sender on one connection
    std::size_t calls_of_one = 64;      // taken up and unanswered, of one of them
    std::size_t calls = 512;            // taken up and unanswered, of all
    std::size_t readers = 256;          // of one system bus
    BusBacklog::Limits backlog;         // of a peer
  };

  // Both outlive it.
  BusObjects(Model& model, Controller& controller, Limits limits);
  BusObjects(Model& model, Controller& controller) : BusObjects(model, controller, Limits()) {}
  ~BusObjects();
  BusObjects(const BusObjects&) = delete;
  BusObjects& operator=(const BusObjects&) = delete;

  Result<void> attach(GDBusConnection* connection, BusKind kind);
  // A connection that is not attached is fine.
  void detach(GDBusConnection* connection);

 private:
  struct Link;
  static const GDBusInterfaceVTable interface_vtable;
  static const GDBusSubtreeVTable subtree_vtable;

  void handle(Link& link, GDBusMethodInvocation* invocation);
  void take_up(const std::shared_ptr<BusCall>& call);
  std::shared_ptr<void> ticket(const BusTurns::Caller& caller);
  std::list<Link>::iterator find(GDBusConnection* connection);
  bool add_reader(GDBusConnection* connection, const std::string& sender);
  void answered(GDBusConnection* connection, std::size_t bytes);
  void emit(const char* path, const char* interface, const char* signal, const Ref<GVariant>& body);
  gchar** enumerate(Link& link, const std::string& sender, const std::string& parent) const;

  Model& model_;
  Limits limits_;
  BusAuthority authority_;
  BusAnnouncer announcer_;
  BusMethods methods_;
  BusTurns turns_;
  std::list<Link> links_;
  // Unanswered calls by connection and sender; shared with the tickets, which may outlive us.
  struct Count;
  std::shared_ptr<Count> count_;
  std::shared_ptr<BusObjects*> self_;
};

}  // namespace vf
