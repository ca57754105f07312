// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What users ask for. A forward is bound first and written to the metadata then: an error leaves
// the metadata as it was.

#pragma once

#include "daemon/reconciler.h"

namespace vf {

class ForwardEditor : public Controller {
 public:
  ForwardEditor(Reconciler& reconciler, ForwardTable& table, LibvirtHost& libvirt, Relay& relay)
      : reconciler_(reconciler), table_(table), libvirt_(libvirt), relay_(relay) {}

  void catch_up(std::function<void()> done) override;
  void settle(std::function<void()> done) override;
  void add_forwards(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
                    EditScope scope, std::function<void(Result<Added>)> done) override;
  void try_forwards(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
                    EditScope scope, std::function<void(Result<Added>)> done) override;
  void change_forward(const std::string& uuid, const std::string& forward,
                      const ForwardAttributes& attributes, EditScope scope,
                      std::function<void(Result<std::vector<ForwardView>>)> done) override;
  void remove_forward(const std::string& uuid, const std::string& forward, EditScope scope,
                      bool drain, std::function<void(Result<void>)> done) override;
  void block(const std::string& uuid, Protocol protocol, PortRange ports, EditScope scope,
             std::function<void(Result<void>)> done) override;
  void unblock(const std::string& uuid, Protocol protocol, PortRange ports, EditScope scope,
               std::function<void(Result<void>)> done) override;
  void set_automatic(const std::string& uuid, AutoMode mode, EditScope scope,
                     std::function<void(Result<void>)> done) override;
  void metadata(const std::string& uuid, EditScope scope,
                std::function<void(Result<std::string>)> done) override;
  void allow(const std::string& uuid, Protocol protocol, PortRange ports,
             const std::string& process, EditScope scope,
             std::function<void(Result<void>)> done) override;
  void disallow(const std::string& uuid, Protocol protocol, PortRange ports,
                const std::string& process, EditScope scope,
                std::function<void(Result<void>)> done) override;
  void counters(const std::string& uuid, const std::string& id,
                std::function<void(Result<ForwardCounters>)> done) override;
  void all_counters(std::function<void(Result<std::vector<Counted>>)> done) override;
  void statistics(std::function<void(const DaemonStatistics&)> done) override;

 private:
  // Additions that nothing but a busy port stands against.
  struct Additions {
    DomainRecord* domain;
    std::vector<ForwardDefinition> definitions;
    MetadataTarget target;
  };
  Result<Additions> additions(const std::string& uuid,
                              const std::vector<ForwardAttributes>& forwards, EditScope scope);
  void change_now(const std::string& uuid, const std::string& forward,
                  const ForwardAttributes& attributes, EditScope scope,
                  std::function<void(Result<std::vector<ForwardView>>)> done);
  void add_now(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
               EditScope scope, std::function<void(Result<Added>)> done);
  void remove_now(const std::string& uuid, const std::string& forward, EditScope scope, bool drain,
                  std::function<void(Result<void>)> done);
  // An edit of <auto>: `nothing` is the error where it changes neither metadata; without a message
  // that is fine.
  void edit_automatic(const std::string& uuid, EditScope scope, LibvirtHost::Edit edit,
                      Error nothing, std::function<void(Result<void>)> done);
  // Calls `edit` when it is certain whether the domain runs, where that makes a difference.
  void when_known(const std::string& uuid, EditScope scope, std::function<void()> edit);
  // Done when what follows of it is so. Both sides of the target are written or neither.
  void write(const std::string& uuid, MetadataTarget target, LibvirtHost::Edit edit,
             std::function<void(Result<void>)> done);

  Reconciler& reconciler_;
  ForwardTable& table_;
  LibvirtHost& libvirt_;
  Relay& relay_;
};

}  // namespace vf
