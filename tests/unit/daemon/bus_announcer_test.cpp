// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_announcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bus_fake.h"
#include "bus_lab.h"
#include "glib/object_path.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Announcer : public testing::Test {
 protected:
  Announcer() { announcer.listen(true); }

  void emitted(const char* path, const char* signal, const Ref<GVariant>& body) {
    std::string about = path;
    const auto first = adopt(g_variant_get_child_value(body.get(), 0));
    if (g_variant_is_of_type(first.get(), G_VARIANT_TYPE_OBJECT_PATH))
      about = g_variant_get_string(first.get(), nullptr);
    lines.push_back(std::string(signal) + ' ' + about);
    last = body;
  }

  FakeModel model;
  std::vector<std::string> lines;
  Ref<GVariant> last;
  BusAnnouncer announcer{model, [this](const char* path, const char*, const char* signal,
                                       const Ref<GVariant>& body) { emitted(path, signal, body); }};
  const std::string domain = domain_path(uuid1);
  const std::string forward = forward_path(uuid1, "tcp:8080:80");
};

TEST_F(Announcer, AnObjectIsAddedOnceWithWhatItBecameInTheSameTurn) {
  model.add(fake_domain());
  ForwardView view = fake_forward();
  view.state = ForwardState::waiting;
  model.add(view);
  view.state = ForwardState::active;
  model.change(view);
  EXPECT_THAT(lines, IsEmpty());
  EXPECT_TRUE(iterate_until([&] { return lines.size() >= 2; }));
  EXPECT_THAT(lines, ElementsAre("InterfacesAdded " + domain, "InterfacesAdded " + forward));
  EXPECT_NE(take_string(g_variant_print(last.get(), FALSE)).find("'State': <'active'>"),
            std::string::npos);
}

TEST_F(Announcer, ChangesOfOneTurnAreOneSignal) {
  ForwardView view = fake_forward();
  model.add(view);
  announcer.flush();
  lines.clear();
  for (const char* label : {"a", "b", "c"}) {
    view.label = label;
    model.change(view);
  }
  model.observer->daemon_changed();
  announcer.flush();
  EXPECT_THAT(lines, ElementsAre("PropertiesChanged " + forward,
                                 std::string("PropertiesChanged ") + root_path));
}

TEST_F(Announcer, ChangeNamesWhatIsUnknownNow) {
  ForwardView view = fake_forward();
  model.add(view);
  announcer.flush();
  view.host_port = {};
  view.url.clear();
  model.change(view);
  announcer.flush();
  const auto changed = adopt(g_variant_get_child_value(last.get(), 1));
  const auto absent = adopt(g_variant_get_child_value(last.get(), 2));
  EXPECT_FALSE(adopt(g_variant_lookup_value(changed.get(), "HostPort", nullptr)));
  EXPECT_TRUE(adopt(g_variant_lookup_value(changed.get(), "GuestPort", nullptr)));
  const std::string names = take_string(g_variant_print(absent.get(), FALSE));
  EXPECT_NE(names.find("'HostPort'"), std::string::npos) << names;
  EXPECT_NE(names.find("'Url'"), std::string::npos) << names;
  EXPECT_EQ(names.find("'GuestPort'"), std::string::npos) << names;
}

TEST_F(Announcer, WhatComesAndGoesInOneTurnIsNeverSeen) {
  model.add(fake_forward());
  model.change(fake_forward());
  model.remove(fake_forward());
  announcer.flush();
  EXPECT_THAT(lines, IsEmpty());
}

TEST_F(Announcer, WhatGoesAndComesIsBoth) {
  model.add(fake_forward());
  announcer.flush();
  lines.clear();
  model.remove(fake_forward());
  model.add(fake_forward());
  model.change(fake_forward());
  announcer.flush();
  EXPECT_THAT(lines, ElementsAre("InterfacesRemoved " + forward, "InterfacesAdded " + forward));

  lines.clear();
  model.remove(fake_forward());
  model.add(fake_forward());
  model.remove(fake_forward());
  announcer.flush();
  EXPECT_THAT(lines, ElementsAre("InterfacesRemoved " + forward));
}

TEST_F(Announcer, ForwardsGoBeforeTheirDomain) {
  model.add(fake_domain());
  model.add(fake_forward());
  announcer.flush();
  lines.clear();
  model.change(fake_domain());
  model.change(fake_forward());
  model.remove(fake_forward());
  model.remove(fake_domain());
  announcer.flush();
  EXPECT_THAT(lines, ElementsAre("InterfacesRemoved " + forward, "InterfacesRemoved " + domain));
}

TEST_F(Announcer, NothingIsKeptWhileNobodyListens) {
  announcer.listen(false);
  model.add(fake_forward());
  announcer.listen(true);
  announcer.flush();
  EXPECT_THAT(lines, IsEmpty());
}

}  // namespace
}  // namespace vf
