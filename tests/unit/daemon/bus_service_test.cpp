// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The service on its private socket, by peers in this process and by busctl and gdbus.

#include "daemon/bus_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>
#include <fstream>

#include "bus_peer_lab.h"

namespace vf {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class BusPeer : public BusPeerLab {};

TEST_F(BusPeer, ShowsObjects) {
  const auto peer = connect_peer(socket);
  const auto objects = call(peer, root_path, object_manager_interface, "GetManagedObjects");
  EXPECT_THAT(objects.text(),
              AllOf(HasSubstr(domain_path(uuid1)), HasSubstr(forward),
                    HasSubstr("'HostPort': <uint16 8080>"), Not(HasSubstr("Reason"))));
  const auto manager = call(peer, root_path, properties_interface, "GetAll",
                            g_variant_new("(s)", manager_interface));
  EXPECT_THAT(manager.text(), AllOf(HasSubstr("'ConnectionUri': <'test:///default'>"),
                                    HasSubstr("'RelayConnected': <true>")));
}

TEST_F(BusPeer, GObjectsOwnClientUnderstandsIt) {
  const auto peer = connect_peer(socket);
  struct State {
    Ref<GDBusObjectManager> manager;
    std::string error;
  } state;
  g_dbus_object_manager_client_new(
      peer.get(), G_DBUS_OBJECT_MANAGER_CLIENT_FLAGS_NONE, nullptr, root_path, nullptr, nullptr,
      nullptr, nullptr,
      [](GObject*, GAsyncResult* result, gpointer data) {
        auto* waiting = static_cast<State*>(data);
        GErrorOut error;
        waiting->manager = adopt(g_dbus_object_manager_client_new_finish(result, error.out()));
        waiting->error = error.message();
      },
      &state);
  ASSERT_TRUE(iterate_until([&] { return state.manager || !state.error.empty(); }));
  ASSERT_TRUE(state.manager) << state.error;
  const auto object = [&](const std::string& path) {
    return adopt(g_dbus_object_manager_get_object(state.manager.get(), path.c_str()));
  };
  EXPECT_TRUE(object(forward));
  const std::string later = forward_path(uuid1, "ssh");
  model.add(fake_forward("ssh"));
  EXPECT_TRUE(iterate_until([&] { return static_cast<bool>(object(later)); }));
  model.remove(fake_forward("ssh"));
  EXPECT_TRUE(iterate_until([&] { return !object(later); }));
}

TEST_F(BusPeer, AnswersBusctlAndGdbus) {
  const auto tree = run_program({"busctl", "--address=" + address, "tree", bus_name});
  EXPECT_EQ(tree.status, 0) << tree.err;
  EXPECT_THAT(tree.out, HasSubstr(forward));
  const auto introspect =
      run_program({"busctl", "--address=" + address, "introspect", bus_name, forward});
  EXPECT_EQ(introspect.status, 0) << introspect.err;
  EXPECT_THAT(introspect.out, HasSubstr("\"http://127.0.0.1:8080\""));
  const auto found = run_program({"busctl", "--address=" + address, "call", bus_name, root_path,
                                  manager_interface, "FindDomain", "s", "web"});
  EXPECT_EQ(found.out, "o \"" + domain_path(uuid1) + "\"\n") << found.err;
  const auto gdbus =
      run_program({"gdbus", "call", "--address", address, "--dest", bus_name, "--object-path",
                   root_path, "--method", "org.virtforward1.Manager.FindDomain", "7"});
  EXPECT_EQ(gdbus.out, "(objectpath '" + domain_path(uuid1) + "',)\n") << gdbus.err;
  const auto gdbus_introspect = run_program(
      {"gdbus", "introspect", "--address", address, "--dest", bus_name, "--object-path", forward});
  EXPECT_THAT(gdbus_introspect.out, HasSubstr("HostPort = 8080")) << gdbus_introspect.err;
}

TEST_F(BusPeer, AClientOfABusGetsSignals) {
  const auto client = connect_bus(address);
  EXPECT_STREQ(g_dbus_connection_get_unique_name(client.get()), ":1.1");
  SignalLog signals(client);
  call(client, "/", "org.freedesktop.DBus.Peer", "Ping");
  model.add(fake_forward("ssh"));
  EXPECT_TRUE(iterate_until([&] { return !signals.entries.empty(); }));
}

TEST_F(BusPeer, IsNoBus) {
  const auto peer = connect_peer(socket);
  const auto ask = [&](const char* method, GVariant* arguments) {
    return call(peer, "/org/freedesktop/DBus", "org.freedesktop.DBus", method, arguments);
  };
  EXPECT_EQ(ask("RequestName", g_variant_new("(su)", "org.example", 0)).error,
            "org.freedesktop.DBus.Error.AccessDenied");
  EXPECT_EQ(ask("GetNameOwner", g_variant_new("(s)", "org.example")).error,
            "org.freedesktop.DBus.Error.NameHasNoOwner");
  EXPECT_EQ(ask("GetNameOwner", g_variant_new("(s)", bus_name)).text(), "(':1.0',)");
  EXPECT_EQ(ask("NameHasOwner", g_variant_new("(s)", "org.example")).text(), "(false,)");
  EXPECT_EQ(ask("StartServiceByName", g_variant_new("(su)", bus_name, 0)).text(), "(2,)");
  EXPECT_EQ(ask("GetConnectionUnixUser", g_variant_new("(s)", ":1.1")).text(),
            "(" + std::to_string(geteuid()) + ",)");
}

// A script starts a guest and exposes a port in the next line: before saying no, the daemon asks.
TEST_F(BusPeer, ADomainThatLibvirtHasOnlyJustGotIsFound) {
  const auto peer = connect_peer(socket);
  controller.before_caught_up = [this] { model.add(fake_domain(uuid2, "new")); };
  const CallAnswer found =
      call(peer, root_path, manager_interface, "FindDomain", g_variant_new("(s)", "new"));
  EXPECT_EQ(found.text(), "('" + domain_path(uuid2) + "',)");
}

TEST_F(BusPeer, WithoutLibvirtADomainIsUnknownAndNotAbsent) {
  model.libvirt = false;
  model.reason = "no such socket";
  const CallAnswer answer = call(connect_peer(socket), root_path, manager_interface, "FindDomain",
                                 g_variant_new("(s)", "mail"));
  EXPECT_EQ(answer.error, "org.virtforward1.Error.NoLibvirt");
  EXPECT_NE(answer.message.find("no such socket"), std::string::npos) << answer.message;
}

TEST_F(BusPeer, ObjectsAreToldWhenTheDaemonHasSettled) {
  controller.before_settled = [&] { model.add(fake_domain(uuid2, "late")); };
  const CallAnswer answer =
      call(connect_peer(socket), root_path, object_manager_interface, "GetManagedObjects");
  EXPECT_NE(answer.text().find("'late'"), std::string::npos) << answer.text();
}

TEST_F(BusPeer, GivesTheMetadata) {
  controller.element = std::string("<forwards/>");
  const auto metadata = [&](const char* options) {
    return call(connect_peer(socket), domain_path(uuid1), domain_interface, "GetMetadata",
                g_variant_new_parsed(options));
  };
  EXPECT_EQ(metadata("(@a{sv} {'config': <true>},)").text(), "('<forwards/>',)");
  EXPECT_TRUE(controller.asked.back().scope.config);
  EXPECT_EQ(metadata("(@a{sv} {'drain': <true>},)").error,
            "org.virtforward1.Error.InvalidArgument");
  controller.element = Unexpected(ErrorCode::domain_not_running, "off");
  EXPECT_EQ(metadata("(@a{sv} {},)").error, "org.virtforward1.Error.DomainNotRunning");
}

TEST_F(BusPeer, FindsDomainsByIdUuidAndName) {
  DomainView other = fake_domain(uuid2, "7");  // its name is the other's id
  other.id = {};
  model.add(other);
  const auto peer = connect_peer(socket);
  const auto find = [&](const std::string& text) {
    return call(peer, root_path, manager_interface, "FindDomain",
                g_variant_new("(s)", text.c_str()));
  };
  const std::string first = "('" + domain_path(uuid1) + "',)";
  EXPECT_EQ(find("7").text(), first);
  EXPECT_EQ(find("web").text(), first);
  EXPECT_EQ(find(uuid2).text(), "('" + domain_path(uuid2) + "',)");
  const auto none = find("n\x1b[31mone");
  EXPECT_EQ(none.error, "org.virtforward1.Error.NoSuchDomain");
  EXPECT_THAT(none.message, AllOf(HasSubstr("virsh list"), Not(HasSubstr("\x1b"))));
}

TEST_F(BusPeer, ShowsPortsThatTheGuestHasOpen) {
  PortView port = fake_port();
  port.forward = "auto:tcp:3000";
  model.add(port);
  const std::string path = port_path(uuid1, "tcp:3000");
  const auto peer = connect_peer(socket);
  const auto all =
      call(peer, path, properties_interface, "GetAll", g_variant_new("(s)", port_interface));
  EXPECT_THAT(
      all.text(),
      AllOf(HasSubstr("'Port': <uint16 3000>"), HasSubstr("'Addresses': <['0.0.0.0']>"),
            HasSubstr("'ProcessName': <'node'>"), HasSubstr("'State': <'ignored'>"),
            HasSubstr("'Rule': <uint32 2>"), HasSubstr("'UserId': <uint32 1000>"),
            HasSubstr(forward_path(uuid1, "auto:tcp:3000")), HasSubstr("'Source': <'agent'>"),
            HasSubstr("'Notify': <true>"), Not(HasSubstr("Container"))));
  const auto objects = call(peer, root_path, object_manager_interface, "GetManagedObjects");
  EXPECT_THAT(objects.text(), HasSubstr(path));
  const auto tree = run_program({"busctl", "--address=" + address, "tree", bus_name});
  EXPECT_THAT(tree.out, HasSubstr(path));
  model.remove(port);
  const auto gone =
      call(peer, path, properties_interface, "GetAll", g_variant_new("(s)", port_interface));
  EXPECT_EQ(gone.error, "org.virtforward1.Error.NoSuchForward");
}

TEST_F(BusPeer, TellsOfPortsAsTheyComeChangeAndGo) {
  const auto peer = connect_peer(socket);
  SignalLog signals(peer);
  call(peer, root_path, manager_interface, "GetCounters");
  PortView port = fake_port();
  const std::string path = port_path(uuid1, port.id);
  const auto until = [&](std::size_t count) {
    return iterate_until([&] { return signals.entries.size() == count; });
  };
  model.add(port);
  ASSERT_TRUE(until(1));
  port.rule.reset();
  model.change(port);
  ASSERT_TRUE(until(2));
  model.remove(port);
  ASSERT_TRUE(until(3));
  EXPECT_THAT(signals.lines(), ElementsAre("InterfacesAdded " + path, "PropertiesChanged " + path,
                                           "InterfacesRemoved " + path));
}

TEST_F(BusPeer, Counts) {
  const auto peer = connect_peer(socket);
  controller.all_counted = std::vector<Controller::Counted>{{uuid1, "tcp:8080:80", {4, 5, 6}}};
  EXPECT_EQ(call(peer, forward, forward_interface, "GetCounters").text(),
            "({'connections': 1, 'bytes-in': 2, 'bytes-out': 3},)");
  EXPECT_EQ(call(peer, root_path, manager_interface, "GetCounters").text(),
            "([('" + forward + "', {'connections': 4, 'bytes-in': 5, 'bytes-out': 6})],)");
  controller.counted = ForwardCounters{1, 2, 3, 4, 5};
  EXPECT_EQ(call(peer, forward, forward_interface, "GetCounters").text(),
            "({'connections': 1, 'bytes-in': 2, 'bytes-out': 3, 'accepted': 4, 'failures': 5},)");
  controller.counted = ForwardCounters{1, std::nullopt, std::nullopt};
  EXPECT_EQ(call(peer, forward, forward_interface, "GetCounters").text(), "({'connections': 1},)");
  controller.counted = Unexpected(ErrorCode::not_supported, "no");
  EXPECT_EQ(call(peer, forward, forward_interface, "GetCounters").error,
            "org.virtforward1.Error.NotSupported");
}

TEST_F(BusPeer, TellsOfItself) {
  const auto peer = connect_peer(socket);
  EXPECT_EQ(call(peer, root_path, manager_interface, "GetStatistics").text(), "({}, [])");
  controller.told = {1, 2, 3, 4, {{"swift", 5, 6, {{100, 4}, {250, 5}}}, {"bulk", 0, 0, {}}}};
  EXPECT_EQ(call(peer, root_path, manager_interface, "GetStatistics").text(),
            "({'connections-refused': 1, 'datagrams-lost': 2, 'guest-reports-slowed': 3, "
            "'guest-ports-left-out': 4}, "
            "[('swift', 5, 6, [(100, 4), (250, 5)]), ('bulk', 0, 0, [])])");
}

TEST_F(BusPeer, NamesWhatDoesNotExist) {
  const auto peer = connect_peer(socket);
  const auto gone_domain = call(peer, domain_path(uuid2), domain_interface, "AddForward",
                                g_variant_new_parsed("({'guest-port': '1'}, @a{sv} {})"));
  EXPECT_EQ(gone_domain.error, "org.virtforward1.Error.NoSuchDomain");
  const auto gone = call(peer, forward_path(uuid1, "x"), properties_interface, "GetAll",
                         g_variant_new("(s)", forward_interface));
  EXPECT_EQ(gone.error, "org.virtforward1.Error.NoSuchForward");
  const auto no_path = call(peer, "/org/virtforward1/domain/x", domain_interface, "AddForward",
                            g_variant_new_parsed("({'guest-port': '1'}, @a{sv} {})"));
  EXPECT_THAT(no_path.error, HasSubstr("org.freedesktop.DBus.Error.Unknown"));
}

TEST_F(BusPeer, PropertiesAreReadOnlyAndAbsentOnesSaySo) {
  const auto peer = connect_peer(socket);
  const auto get = [&](const char* name) {
    return call(peer, forward, properties_interface, "Get",
                g_variant_new("(ss)", forward_interface, name));
  };
  EXPECT_EQ(get("HostPort").text(), "(<uint16 8080>,)");
  EXPECT_EQ(get("Reason").error, "org.freedesktop.DBus.Error.UnknownProperty");
  EXPECT_EQ(get("Nonsense").error, "org.freedesktop.DBus.Error.InvalidArgs");
  const auto set = call(peer, forward, properties_interface, "Set",
                        g_variant_new_parsed("('org.virtforward1.Forward', 'Label', <'x'>)"));
  EXPECT_EQ(set.error, "org.freedesktop.DBus.Error.InvalidArgs");
}

TEST_F(BusPeer, TenThousandObjects) {
  const auto memory_kib = [] {
    std::ifstream status("/proc/self/statm");
    long pages = 0;
    long resident = 0;
    status >> pages >> resident;
    return resident * 4;
  };
  for (int domain = 0; domain < 1000; ++domain) {
    char uuid[37];
    std::snprintf(uuid, sizeof uuid, "10000000-0000-4000-8000-%012d", domain);
    model.add(fake_domain(uuid, "guest" + std::to_string(domain)));
    for (int port = 0; port < 9; ++port)
      model.add(fake_forward("tcp:any:" + std::to_string(8000 + port), uuid));
  }
  const long before = memory_kib();
  const auto peer = connect_peer(socket);
  call(peer, "/", "org.freedesktop.DBus.Peer", "Ping");
  const long with_peer = memory_kib();
  const auto objects = call(peer, root_path, object_manager_interface, "GetManagedObjects");
  ASSERT_TRUE(objects.value);
  const auto dictionary = adopt(g_variant_get_child_value(objects.value.get(), 0));
  EXPECT_EQ(g_variant_n_children(dictionary.get()), 10002u);

  const auto busy = [] {
    timespec spent{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return static_cast<double>(spent.tv_sec) * 1e3 + static_cast<double>(spent.tv_nsec) / 1e6;
  };
  const double start = busy();
  const auto by_busctl =
      run_program({"sh", "-c",
                   "busctl --address=" + address + " call " + bus_name + ' ' + root_path + ' ' +
                       object_manager_interface + " GetManagedObjects | wc -c"});
  EXPECT_EQ(by_busctl.status, 0) << by_busctl.err;
  std::printf(
      "GetManagedObjects of 10,002 objects: %.0f ms of the main loop, %zu KiB; "
      "a peer: %ld KiB\n",
      busy() - start, g_variant_get_size(objects.value.get()) / 1024, with_peer - before);
}

}  // namespace
}  // namespace vf
