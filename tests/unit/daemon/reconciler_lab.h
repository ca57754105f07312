// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A reconciler without domains, whose host ports and relay are in memory.

#pragma once

#include <gtest/gtest.h>

#include <string>

#include "daemon/reconciler.h"
#include "reconciler_fakes.h"

namespace vf {

inline std::string forwards(const std::string& content) {
  return "<forwards>" + content + "</forwards>";
}

inline DomainSnapshot running(const std::string& name, const std::string& content, int id = 1) {
  DomainSnapshot domain;
  domain.uuid = name + "-uuid";
  domain.name = name;
  domain.id = id;
  domain.active = domain.serving = true;
  domain.live_metadata = domain.config_metadata = forwards(content);
  domain.interfaces = {{"52:54:00:00:00:01", "network", "virbr0", "vnet0"}};
  return domain;
}

inline DomainSnapshot stopped(DomainSnapshot domain) {
  domain.active = domain.serving = false;
  domain.id.reset();
  domain.live_metadata.clear();
  return domain;
}

class ReconcilerTest : public testing::Test {
 protected:
  ReconcilerTest() { reconciler.use_relay(relay); }

  ForwardView view(const std::string& uuid, const std::string& id) {
    const ForwardView* found = table.forward(uuid, id);
    EXPECT_TRUE(found) << uuid << ' ' << id;
    return found ? *found : ForwardView{};
  }

  const std::string simple_ = R"(<forward guest-port="80" host-port="8080"/>)";
  const std::string id_ = "tcp:8080:80";
  const std::string key_ = "web-uuid/tcp:8080:80";

  FakePorts ports;
  FakeRelay relay;
  PortHints hints{"/nonexistent/ports"};
  ForwardTable table{"test:///default"};
  Reconciler reconciler{Policy{}, ports, hints, table};
};

}  // namespace vf
