// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The service on its private socket, over a model and a controller of the test's.

#pragma once

#include <gtest/gtest.h>

#include "bus_fake.h"
#include "bus_lab.h"
#include "glib/object_path.h"

namespace vf {

class BusPeerLab : public testing::Test {
 protected:
  BusPeerLab() {
    model.add(fake_domain());
    model.add(fake_forward());
    auto started = BusService::start({BusService::Bus::none, socket}, model, controller);
    EXPECT_TRUE(started) << started.error().message;
    service = *std::move(started);
  }

  CallAnswer add(const Ref<GDBusConnection>& peer, const char* arguments) {
    return call(peer, domain_path(uuid1), domain_interface, "AddForward",
                g_variant_new_parsed(arguments));
  }

  ScratchDirectory directory;
  std::string socket = directory.path("bus.sock");
  std::string address = "unix:path=" + socket;
  const std::string forward = forward_path(uuid1, "tcp:8080:80");
  FakeModel model;
  FakeController controller;
  std::unique_ptr<BusService> service;
};

}  // namespace vf
