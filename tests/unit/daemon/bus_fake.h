// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A model and a controller that do what a test says.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/model.h"

namespace vf {

class FakeModel final : public Model {
 public:
  mutable int listed = 0;  // how often all domains were asked for
  std::vector<DomainView> domains() const override {
    ++listed;
    std::vector<DomainView> list;
    for (const auto& [uuid, view] : domains_)
      list.push_back(view);
    return list;
  }
  std::vector<ForwardView> forwards(const std::string& uuid) const override {
    std::vector<ForwardView> list;
    const auto of_domain = forwards_.find(uuid);
    if (of_domain == forwards_.end()) return list;
    for (const auto& [id, view] : of_domain->second)
      list.push_back(view);
    return list;
  }
  std::vector<PortView> ports(const std::string& uuid) const override {
    std::vector<PortView> list;
    const auto of_domain = ports_.find(uuid);
    if (of_domain == ports_.end()) return list;
    for (const auto& [id, view] : of_domain->second)
      list.push_back(view);
    return list;
  }
  const PortView* port(const std::string& uuid, const std::string& id) const override {
    const auto of_domain = ports_.find(uuid);
    if (of_domain == ports_.end()) return nullptr;
    const auto found = of_domain->second.find(id);
    return found == of_domain->second.end() ? nullptr : &found->second;
  }
  const DomainView* domain(const std::string& uuid) const override {
    const auto found = domains_.find(uuid);
    return found == domains_.end() ? nullptr : &found->second;
  }
  const ForwardView* forward(const std::string& uuid, const std::string& id) const override {
    const auto of_domain = forwards_.find(uuid);
    if (of_domain == forwards_.end()) return nullptr;
    const auto found = of_domain->second.find(id);
    return found == of_domain->second.end() ? nullptr : &found->second;
  }
  bool libvirt_connected() const override { return libvirt; }
  std::string libvirt_reason() const override { return reason; }
  bool relay_connected() const override { return relay; }
  std::string connection_uri() const override { return uri; }
  std::optional<std::int64_t> hook_heard() const override { return heard; }
  void observe(Observer* watcher) override { observer = watcher; }

  void add(const DomainView& view) {
    domains_[view.uuid] = view;
    if (observer) observer->domain_added(view);
  }
  void change(const DomainView& view) {
    domains_[view.uuid] = view;
    if (observer) observer->domain_changed(view);
  }
  void remove(const DomainView& view) {
    domains_.erase(view.uuid);
    if (observer) observer->domain_removed(view);
  }
  void add(const ForwardView& view) {
    forwards_[view.uuid][view.id] = view;
    if (observer) observer->forward_added(view);
  }
  void change(const ForwardView& view) {
    forwards_[view.uuid][view.id] = view;
    if (observer) observer->forward_changed(view);
  }
  void remove(const ForwardView& view) {
    forwards_[view.uuid].erase(view.id);
    if (observer) observer->forward_removed(view);
  }
  void add(const PortView& view) {
    ports_[view.uuid][view.id] = view;
    if (observer) observer->port_added(view);
  }
  void change(const PortView& view) {
    ports_[view.uuid][view.id] = view;
    if (observer) observer->port_changed(view);
  }
  void remove(const PortView& view) {
    ports_[view.uuid].erase(view.id);
    if (observer) observer->port_removed(view);
  }

  Observer* observer = nullptr;
  std::string uri = "test:///default";
  bool libvirt = true;
  std::string reason;  // why there is no libvirt
  bool relay = true;
  std::optional<std::int64_t> heard;

 private:
  std::map<std::string, DomainView> domains_;
  std::map<std::string, std::map<std::string, ForwardView>> forwards_;
  std::map<std::string, std::map<std::string, PortView>> ports_;
};

// Keeps what it was asked; answers at once with `answer`, or, if `hold`, when the test does.
class FakeController final : public Controller {
 public:
  struct Asked {
    std::string uuid;
    ForwardAttributes attributes;
    std::string forward;
    EditScope scope;
    bool drain = false;
  };
  using AddDone = std::function<void(Result<Added>)>;
  using ChangeDone = std::function<void(Result<std::vector<ForwardView>>)>;

  void catch_up(std::function<void()> done) override {
    if (before_caught_up) before_caught_up();
    done();
  }
  void settle(std::function<void()> done) override {
    if (before_settled) before_settled();
    done();
  }
  void add_forwards(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
                    EditScope scope, AddDone done) override {
    ++additions;
    for (const ForwardAttributes& attributes : forwards)
      asked.push_back({uuid, attributes, {}, scope, false});
    if (before_added) before_added();
    if (hold)
      held.push_back(std::move(done));
    else
      done(added_each(forwards.size()));
  }
  void try_forwards(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
                    EditScope scope, AddDone done) override {
    for (const ForwardAttributes& attributes : forwards)
      asked.push_back({uuid, attributes, "dry-run", scope, false});
    done(added_each(forwards.size()));
  }
  Result<Added> added_each(std::size_t count) const {
    return added ? Result(Added(count, *added)) : Result<Added>(Unexpected(added.error()));
  }
  void change_forward(const std::string& uuid, const std::string& forward,
                      const ForwardAttributes& attributes, EditScope scope,
                      ChangeDone done) override {
    asked.push_back({uuid, attributes, "change " + forward, scope, false});
    done(added);
  }
  void remove_forward(const std::string& uuid, const std::string& forward, EditScope scope,
                      bool drain, std::function<void(Result<void>)> done) override {
    asked.push_back({uuid, {}, forward, scope, drain});
    done(removed);
  }
  void block(const std::string& uuid, Protocol protocol, PortRange ports, EditScope scope,
             std::function<void(Result<void>)> done) override {
    asked.push_back({uuid, {}, "block " + port_words(protocol, ports), scope, false});
    done(switched);
  }
  void unblock(const std::string& uuid, Protocol protocol, PortRange ports, EditScope scope,
               std::function<void(Result<void>)> done) override {
    asked.push_back({uuid, {}, "unblock " + port_words(protocol, ports), scope, false});
    done(switched);
  }
  void disallow(const std::string& uuid, Protocol protocol, PortRange ports,
                const std::string& process, EditScope scope,
                std::function<void(Result<void>)> done) override {
    asked.push_back(
        {uuid, {}, "disallow " + port_words(protocol, ports) + ' ' + process, scope, false});
    done(switched);
  }
  void allow(const std::string& uuid, Protocol protocol, PortRange ports,
             const std::string& process, EditScope scope,
             std::function<void(Result<void>)> done) override {
    asked.push_back(
        {uuid, {}, "allow " + port_words(protocol, ports) + ' ' + process, scope, false});
    done(switched);
  }
  void set_automatic(const std::string& uuid, AutoMode mode, EditScope scope,
                     std::function<void(Result<void>)> done) override {
    asked.push_back({uuid, {}, "auto " + std::string(text(mode)), scope, false});
    done(switched);
  }
  void metadata(const std::string& uuid, EditScope scope,
                std::function<void(Result<std::string>)> done) override {
    asked.push_back({uuid, {}, "metadata", scope, false});
    done(element_of ? Result<std::string>(element_of(scope)) : element);
  }
  static std::string port_words(Protocol protocol, PortRange ports) {
    return std::string(text(protocol)) + ' ' + ports.text();
  }
  void counters(const std::string&, const std::string&,
                std::function<void(Result<ForwardCounters>)> done) override {
    done(counted);
  }
  void all_counters(std::function<void(Result<std::vector<Counted>>)> done) override {
    done(all_counted);
  }
  void statistics(std::function<void(const DaemonStatistics&)> done) override { done(told); }

  bool hold = false;
  std::vector<AddDone> held;
  std::function<void()> before_added;
  std::function<void()> before_caught_up;
  std::function<void()> before_settled;
  std::vector<Asked> asked;  // of an addition of several, one each
  int additions = 0;
  // Of each that is added or changed.
  Result<std::vector<ForwardView>> added = std::vector<ForwardView>();
  Result<void> removed;
  Result<std::string> element = std::string();              // of metadata
  std::function<std::string(const EditScope&)> element_of;  // instead of `element`
  Result<void> switched;                                    // of block, unblock and set_automatic
  Result<ForwardCounters> counted = ForwardCounters{1, 2, 3};
  Result<std::vector<Counted>> all_counted = std::vector<Counted>();
  DaemonStatistics told;
};

inline constexpr char uuid1[] = "00000000-0000-4000-8000-000000000001";
inline constexpr char uuid2[] = "00000000-0000-4000-8000-000000000002";

inline DomainView fake_domain(const std::string& uuid = uuid1, const std::string& name = "web") {
  return {uuid, name, 7, true, true, {}};
}

inline PortView fake_port(const std::string& id = "tcp:3000", const std::string& uuid = uuid1) {
  PortView view;
  view.domain = "web";
  view.uuid = uuid;
  view.id = id;
  view.port = Port::from(3000);
  view.addresses = {IpAddress::v4({0, 0, 0, 0})};
  view.process = ProcessView{"node", 42, "node server.js"};
  view.user_id = 1000;
  view.state = DetectedState::ignored;
  view.rule = 2;
  view.reason = "rule 2 ignores it";
  return view;
}

inline ForwardView fake_forward(const std::string& id = "tcp:8080:80",
                                const std::string& uuid = uuid1) {
  ForwardView view;
  view.domain = "web";
  view.uuid = uuid;
  view.id = id;
  view.definition = id;
  view.guest_port = Port::from(80);
  view.host_addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  view.host_port = Port::from(8080);
  view.requested_port = Port::from(8080);
  view.url = "http://127.0.0.1:8080";
  view.transport = Transport::tcp;
  view.state = ForwardState::active;
  view.proven = true;
  view.live = true;
  return view;
}

}  // namespace vf
