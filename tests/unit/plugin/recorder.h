// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "plugin/libvirt_host.h"

namespace vf::test {

// Remembers what a host reported.
struct Recorder final : LibvirtHost::Observer {
  std::map<std::string, DomainSnapshot> domains;  // by name
  std::map<std::string, std::vector<IpAddress>> addresses;
  std::vector<std::string> reasons;  // of connection_changed, "" for up
  int resyncs = 0;
  int changes = 0;
  int gone = 0;

  void resynced(const std::vector<DomainSnapshot>& all) override {
    ++resyncs;
    domains.clear();
    for (const DomainSnapshot& domain : all)
      domains[domain.name] = domain;
  }
  void domain_changed(const DomainSnapshot& domain) override {
    ++changes;
    domains[domain.name] = domain;
  }
  void domain_gone(const std::string& uuid) override {
    ++gone;
    std::erase_if(domains, [&](const auto& item) { return item.second.uuid == uuid; });
  }
  void addresses_changed(const std::string& uuid, const std::vector<IpAddress>& list) override {
    addresses[uuid] = list;
  }
  void guest_reset(const std::string& uuid) override { resets.push_back(uuid); }
  std::vector<std::string> resets;
  void connection_changed(bool, const std::string& reason) override { reasons.push_back(reason); }
};

}  // namespace vf::test
