// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What each D-Bus method does, once its caller may. Main thread only.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "daemon/bus_authority.h"
#include "daemon/bus_call.h"
#include "daemon/bus_options.h"
#include "daemon/model.h"

namespace vf {

class BusMethods {
 public:
  // `before_answer` is called ahead of each answer that shows or follows a change. All outlive it.
  BusMethods(const Model& model, Controller& controller, std::function<void()> before_answer);

  // What a caller of this method must be allowed; nothing for a method that is not ours.
  static std::optional<BusAction> action(const std::string& interface, const std::string& method);

  // Answers now, or when the controller is done.
  void run(const std::shared_ptr<BusCall>& call);

 private:
  using Call = std::shared_ptr<BusCall>;
  struct Row;
  static const Row* row(const std::string& interface, const std::string& method);

  void find_domain(const Call& call);
  void all_counters(const Call& call);
  void statistics(const Call& call);
  void managed_objects(const Call& call);
  void answer_objects(const Call& call);
  void get_property(const Call& call);
  void get_properties(const Call& call);
  void add_forward(const Call& call);
  void add_forwards(const Call& call);
  void add(const Call& call, Result<std::vector<ForwardAttributes>> forwards,
           std::function<void(Result<Controller::Added>)> done);
  void change_forward(const Call& call);
  std::function<void(Result<std::vector<ForwardView>>)> forwards_answer_of(const Call& call);
  void remove_forward(const Call& call);
  void remove_this_forward(const Call& call);
  void block(const Call& call);
  void unblock(const Call& call);
  void set_automatic(const Call& call);
  void metadata(const Call& call);
  void allow(const Call& call);
  void disallow(const Call& call);
  void counters(const Call& call);

  const DomainView* domain_of(const Call& call) const;
  const ForwardView* forward_of(const Call& call) const;
  // Answers a call that returns nothing, behind the signals of what it did.
  std::function<void(Result<void>)> answer_of(const Call& call);
  // What Block, Unblock and Allow are called with; nothing, with the call answered, where it is
  // wrong.
  struct PortEdit {
    std::string uuid;
    Protocol protocol;
    PortRange ports;
    EditOptions options;
  };
  std::optional<PortEdit> port_edit(const Call& call, OwnOption own) const;
  Result<Ref<GVariant>> properties_of(const Call& call) const;
  void remove(const Call& call, const std::string& uuid, const std::string& forward,
              GVariant* options);

  const Model& model_;
  Controller& controller_;
  std::function<void()> before_answer_;
  std::shared_ptr<BusMethods*> self_;  // lets late answers see that we are gone
};

}  // namespace vf
