// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the daemon shows: domains and forwards as people and programs see them. A change is
// announced once, and only when something differs; the same difference is what is logged.

#pragma once

#include <map>
#include <string>

#include "daemon/model.h"

namespace vf {

class ForwardTable : public Model {
 public:
  explicit ForwardTable(std::string connection_uri) : uri_(std::move(connection_uri)) {}

  std::vector<DomainView> domains() const override;
  std::vector<ForwardView> forwards(const std::string& uuid) const override;
  std::vector<PortView> ports(const std::string& uuid) const override;
  const PortView* port(const std::string& uuid, const std::string& id) const override;
  const DomainView* domain(const std::string& uuid) const override;
  const ForwardView* forward(const std::string& uuid, const std::string& id) const override;
  bool libvirt_connected() const override { return libvirt_connected_; }
  std::string libvirt_reason() const override { return libvirt_reason_; }
  bool relay_connected() const override { return relay_connected_; }
  std::string connection_uri() const override { return uri_; }
  std::optional<std::int64_t> hook_heard() const override { return hook_heard_; }
  void observe(Observer* observer) override { observer_ = observer; }

  // Replaces one domain with all its forwards and ports. A port is announced behind its forward and
  // goes before it.
  void set_domain(const DomainView& domain, const std::vector<ForwardView>& forwards,
                  const std::vector<PortView>& ports = {});
  void remove_domain(const std::string& uuid);
  // `reason`: why not.
  void set_libvirt_connected(bool connected, const std::string& reason = {});
  void set_relay_connected(bool connected);
  void set_hook_heard(std::int64_t unix_seconds) { hook_heard_ = unix_seconds; }

 private:
  struct Entry {
    DomainView view;
    std::map<std::string, ForwardView> forwards;
    std::map<std::string, PortView> ports;
    // Log lines left for this domain in the present minute: a guest that flaps cannot fill the log.
    std::int64_t log_minute = 0;
    int log_lines = 0;
  };

  void tell(Entry& entry, const ForwardView* before, const ForwardView* after);

  std::string uri_;
  std::map<std::string, Entry> entries_;
  Observer* observer_ = nullptr;
  bool libvirt_connected_ = false;
  std::string libvirt_reason_;
  bool relay_connected_ = false;
  std::optional<std::int64_t> hook_heard_;
};

}  // namespace vf
