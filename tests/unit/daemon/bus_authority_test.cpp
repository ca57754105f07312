// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The service on a bus of the test's own, and what polkit (played by the test) lets others do.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "bus_fake.h"
#include "bus_lab.h"
#include "daemon/bus_service.h"
#include "glib/object_path.h"

namespace vf {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// org.freedesktop.PolicyKit1 as far as the service asks for it.
class FakePolkit {
 public:
  explicit FakePolkit(const std::string& address) : connection_(connect_bus(address)) {
    static constexpr char xml[] = R"XML(<node>
      <interface name="org.freedesktop.PolicyKit1.Authority">
        <method name="CheckAuthorization">
          <arg type="(sa{sv})" direction="in"/><arg type="s" direction="in"/>
          <arg type="a{ss}" direction="in"/><arg type="u" direction="in"/>
          <arg type="s" direction="in"/><arg type="(bba{ss})" direction="out"/>
        </method>
      </interface></node>)XML";
    node_ = adopt(g_dbus_node_info_new_for_xml(xml, nullptr));
    static const GDBusInterfaceVTable vtable = {answer, nullptr, nullptr, {}};
    g_dbus_connection_register_object(connection_.get(), "/org/freedesktop/PolicyKit1/Authority",
                                      node_.get()->interfaces[0], &vtable, this, nullptr, nullptr);
    bool owned = false;
    name_ = g_bus_own_name_on_connection(
        connection_.get(), "org.freedesktop.PolicyKit1", G_BUS_NAME_OWNER_FLAGS_NONE,
        [](GDBusConnection*, const gchar*, gpointer data) { *static_cast<bool*>(data) = true; },
        nullptr, &owned, nullptr);
    EXPECT_TRUE(iterate_until([&] { return owned; }));
  }
  ~FakePolkit() { g_bus_unown_name(name_); }
  FakePolkit(const FakePolkit&) = delete;
  FakePolkit& operator=(const FakePolkit&) = delete;

  std::set<std::string> allowed;
  bool challenge = false;
  std::vector<std::string> asked;  // "ACTION FLAGS"

 private:
  static void answer(GDBusConnection*, const gchar*, const gchar*, const gchar*, const gchar*,
                     GVariant* parameters, GDBusMethodInvocation* invocation, gpointer data) {
    auto* self = static_cast<FakePolkit*>(data);
    const gchar* kind = nullptr;
    const gchar* action = nullptr;
    guint32 flags = 0;
    g_variant_get(parameters, "((&s@a{sv})&s@a{ss}u&s)", &kind, nullptr, &action, nullptr, &flags,
                  nullptr);
    EXPECT_STREQ(kind, "system-bus-name");
    self->asked.push_back(std::string(action) + ' ' + std::to_string(flags));
    g_dbus_method_invocation_return_value(
        invocation,
        g_variant_new("((bba{ss}))", self->allowed.contains(action), self->challenge, nullptr));
  }

  Ref<GDBusConnection> connection_;
  Ref<GDBusNodeInfo> node_;
  guint name_ = 0;
};

class OnABus : public testing::Test {
 protected:
  OnABus() {
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address().c_str(), TRUE);
    g_setenv("DBUS_SESSION_BUS_ADDRESS", bus.address().c_str(), TRUE);
    model.add(fake_domain());
    model.add(fake_forward());
  }
  ~OnABus() override {
    g_unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    g_unsetenv("DBUS_SESSION_BUS_ADDRESS");
  }

  void serve(BusService::Bus type) {
    auto started = BusService::start({type, ""}, model, controller);
    ASSERT_TRUE(started) << started.error().message;
    service = *std::move(started);
  }

  bool is_served(const Ref<GDBusConnection>& client) {
    return call(client, root_path, "org.freedesktop.DBus.Peer", "Ping").error.empty();
  }

  static std::vector<std::string> as_nobody(std::vector<std::string> command) {
    const std::vector<std::string> prefix = {"setpriv", "--reuid=65534", "--regid=65534",
                                             "--clear-groups"};
    command.insert(command.begin(), prefix.begin(), prefix.end());
    return command;
  }

  ProgramResult nobody_calls(const std::string& path, const std::string& method,
                             const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {
        "gdbus",  "call",          "--address", bus.address(), "--dest",
        bus_name, "--object-path", path,        "--method",    "org.virtforward1." + method};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return run_program(as_nobody(command));
  }

  PrivateBus bus;
  FakeModel model;
  FakeController controller;
  std::unique_ptr<BusService> service;
};

TEST_F(OnABus, TheOwnUidMayDoEverythingOnASessionBus) {
  serve(BusService::Bus::session);
  const auto client = connect_bus(bus.address());
  ASSERT_TRUE(iterate_until([&] { return is_served(client); }));
  SignalLog signals(client);
  const auto objects = call(client, root_path, object_manager_interface, "GetManagedObjects");
  EXPECT_THAT(objects.text(), HasSubstr("tcp:8080:80"));
  model.add(fake_forward("ssh"));
  EXPECT_TRUE(iterate_until([&] { return !signals.entries.empty(); }));
}

TEST_F(OnABus, AForeignUidMayDoNothingOnASessionBus) {
  ASSERT_EQ(geteuid(), 0u) << "this test becomes another user, so it needs root";
  serve(BusService::Bus::session);
  const auto client = connect_bus(bus.address());
  ASSERT_TRUE(iterate_until([&] { return is_served(client); }));
  const auto answer = nobody_calls(root_path, "Manager.FindDomain", {"web"});
  EXPECT_THAT(answer.err, HasSubstr("org.virtforward1.Error.NotAllowed")) << answer.out;
}

TEST_F(OnABus, WithoutPolkitOnlyRootMayOnTheSystemBus) {
  ASSERT_EQ(geteuid(), 0u) << "this test becomes another user, so it needs root";
  serve(BusService::Bus::system);
  const auto client = connect_bus(bus.address());
  ASSERT_TRUE(iterate_until([&] { return is_served(client); }));
  const auto root = call(client, domain_path(uuid1), domain_interface, "RemoveForward",
                         g_variant_new_parsed("('ssh', @a{sv} {})"));
  EXPECT_EQ(root.error, "");
  const auto answer = nobody_calls(domain_path(uuid1), "Domain.RemoveForward", {"ssh", "{}"});
  EXPECT_THAT(answer.err, AllOf(HasSubstr("org.virtforward1.Error.NotAllowed"),
                                HasSubstr("uid 65534"), HasSubstr("start polkit")));
  EXPECT_EQ(controller.asked.size(), 1u);
}

TEST_F(OnABus, PolkitDecidesPerOperation) {
  ASSERT_EQ(geteuid(), 0u) << "this test becomes another user, so it needs root";
  FakePolkit polkit(bus.address());
  polkit.allowed = {"org.virtforward1.read", "org.virtforward1.add"};
  serve(BusService::Bus::system);
  const auto client = connect_bus(bus.address());
  ASSERT_TRUE(iterate_until([&] { return is_served(client); }));

  EXPECT_EQ(nobody_calls(root_path, "Manager.FindDomain", {"web"}).status, 0);
  EXPECT_EQ(
      nobody_calls(domain_path(uuid1), "Domain.AddForward", {"{'guest-port':'80'}", "{}"}).status,
      0);
  EXPECT_EQ(controller.asked.size(), 1u);
  const auto refused = nobody_calls(domain_path(uuid1), "Domain.RemoveForward", {"ssh", "{}"});
  EXPECT_THAT(refused.err, AllOf(HasSubstr("org.virtforward1.Error.NotAllowed"),
                                 HasSubstr("org.virtforward1.remove"), HasSubstr("libvirt")));
  EXPECT_EQ(controller.asked.size(), 1u);
  EXPECT_THAT(polkit.asked, ElementsAre("org.virtforward1.read 0", "org.virtforward1.add 0",
                                        "org.virtforward1.remove 0"));

  polkit.challenge = true;
  const auto challenged = nobody_calls(domain_path(uuid1), "Domain.RemoveForward", {"ssh", "{}"});
  EXPECT_THAT(challenged.err, HasSubstr("password"));

  polkit.allowed.clear();
  EXPECT_THAT(nobody_calls(forward_path(uuid1, "tcp:8080:80"), "Forward.GetCounters", {}).err,
              HasSubstr("NotAllowed"));
}

// It takes away what was there, as a removal does.
TEST_F(OnABus, AChangeNeedsWhatAddingAndWhatRemovingNeed) {
  ASSERT_EQ(geteuid(), 0u) << "this test becomes another user, so it needs root";
  FakePolkit polkit(bus.address());
  serve(BusService::Bus::system);
  const auto client = connect_bus(bus.address());
  ASSERT_TRUE(iterate_until([&] { return is_served(client); }));
  const auto change = [&] {
    return nobody_calls(domain_path(uuid1), "Domain.ChangeForward",
                        {"ssh", "{'host-port':'2222'}", "{}"});
  };
  polkit.allowed = {"org.virtforward1.read", "org.virtforward1.add"};
  EXPECT_THAT(change().err, AllOf(HasSubstr("org.virtforward1.Error.NotAllowed"),
                                  HasSubstr("org.virtforward1.remove")));
  polkit.allowed = {"org.virtforward1.read", "org.virtforward1.remove"};
  EXPECT_THAT(change().err, AllOf(HasSubstr("org.virtforward1.Error.NotAllowed"),
                                  HasSubstr("org.virtforward1.add")));
  EXPECT_EQ(controller.asked.size(), 0u);
  polkit.allowed.insert("org.virtforward1.add");
  EXPECT_EQ(change().status, 0);
  EXPECT_EQ(controller.asked.size(), 1u);
}

TEST_F(OnABus, APersonIsAskedOnlyWhereTheCallerCanWait) {
  ASSERT_EQ(geteuid(), 0u) << "this test becomes another user, so it needs root";
  FakePolkit polkit(bus.address());
  polkit.allowed = {"org.virtforward1.read"};
  serve(BusService::Bus::system);
  const auto client = connect_bus(bus.address());
  ASSERT_TRUE(iterate_until([&] { return is_served(client); }));
  const auto answer = run_program(
      as_nobody({"busctl", "--address=" + bus.address(), "--allow-interactive-authorization=yes",
                 "call", bus_name, root_path, manager_interface, "FindDomain", "s", "web"}));
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(polkit.asked, ElementsAre("org.virtforward1.read 1"));
}

TEST_F(OnABus, ASystemBusTellsReadersOnly) {
  serve(BusService::Bus::system);
  const auto reader = connect_bus(bus.address());
  const auto listener = connect_bus(bus.address());
  SignalLog read(reader);
  SignalLog listened(listener);
  ASSERT_TRUE(iterate_until([&] { return is_served(listener); }));
  const auto listed =
      call(listener, forwards_path, "org.freedesktop.DBus.Introspectable", "Introspect");
  EXPECT_THAT(listed.text(), testing::Not(HasSubstr("tcp_3a8080")));

  call(reader, root_path, object_manager_interface, "GetManagedObjects");
  model.add(fake_forward("ssh"));
  EXPECT_TRUE(iterate_until([&] { return !read.entries.empty(); }));
  is_served(listener);  // what was sent before is here when the answer is
  EXPECT_THAT(listened.lines(), IsEmpty());
  EXPECT_THAT(
      call(reader, forwards_path, "org.freedesktop.DBus.Introspectable", "Introspect").text(),
      HasSubstr("tcp_3a8080"));
}

TEST_F(OnABus, ALostBusIsFoundAgain) {
  serve(BusService::Bus::system);
  auto client = connect_bus(bus.address());
  ASSERT_TRUE(iterate_until([&] { return is_served(client); }));
  bus.stop();
  ASSERT_TRUE(iterate_until([&] { return g_dbus_connection_is_closed(client.get()); }));
  model.add(fake_forward("meanwhile"));
  bus.start();
  client = connect_bus(bus.address());
  EXPECT_TRUE(iterate_until([&] { return is_served(client); }));
  EXPECT_THAT(call(client, root_path, object_manager_interface, "GetManagedObjects").text(),
              HasSubstr("'meanwhile'"));
}

TEST_F(OnABus, NoBusAtTheStartIsFine) {
  bus.stop();
  serve(BusService::Bus::session);
  model.add(fake_forward("meanwhile"));
  bus.start();
  const auto client = connect_bus(bus.address());
  EXPECT_TRUE(iterate_until([&] { return is_served(client); }));
}

}  // namespace
}  // namespace vf
