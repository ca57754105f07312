// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Edits on the private socket: what the controller is asked, and what comes back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "bus_peer_lab.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class BusEdits : public BusPeerLab {};

TEST_F(BusEdits, AddsAndTellsBeforeItAnswers) {
  const auto peer = connect_peer(socket);
  SignalLog signals(peer);
  ForwardView view = fake_forward("tcp:any:22");
  view.host_port = Port::from(40022);
  view.requested_port = {};
  controller.added = std::vector<ForwardView>{view};
  controller.before_added = [&] { model.add(view); };
  const auto answer = add(peer, "({'guest-port': '22'}, {'live': <true>, 'config': <false>})");
  EXPECT_EQ(answer.text(), "([('" + forward_path(uuid1, "tcp:any:22") + "', 40022, 0)],)");
  EXPECT_THAT(signals.lines(), ElementsAre("InterfacesAdded " + forward_path(uuid1, "tcp:any:22")));
  ASSERT_EQ(controller.asked.size(), 1u);
  EXPECT_EQ(controller.asked[0].uuid, uuid1);
  EXPECT_EQ(controller.asked[0].attributes, (ForwardAttributes{{"guest-port", "22"}}));
  EXPECT_TRUE(controller.asked[0].scope.live);
  EXPECT_FALSE(controller.asked[0].scope.config);
}

TEST_F(BusEdits, Removes) {
  const auto peer = connect_peer(socket);
  const auto by_name = call(peer, domain_path(uuid1), domain_interface, "RemoveForward",
                            g_variant_new_parsed("('ssh', {'drain': <true>})"));
  EXPECT_EQ(by_name.text(), "()");
  EXPECT_EQ(controller.asked.back().forward, "ssh");
  EXPECT_TRUE(controller.asked.back().drain);
  ForwardView of_range = fake_forward("range#8001");
  of_range.definition = "range";
  model.add(of_range);
  const auto itself = call(peer, forward_path(uuid1, "range#8001"), forward_interface, "Remove",
                           g_variant_new_parsed("(@a{sv} {'persistent': <true>},)"));
  EXPECT_EQ(itself.text(), "()");
  EXPECT_EQ(controller.asked.back().forward, "range");
  EXPECT_TRUE(controller.asked.back().scope.persistent);
}

TEST_F(BusEdits, BlocksUnblocksAndSwitches) {
  const auto peer = connect_peer(socket);
  const std::string domain = domain_path(uuid1);
  const auto ask = [&](const char* method, const char* arguments) {
    return call(peer, domain, domain_interface, method, g_variant_new_parsed(arguments));
  };
  EXPECT_EQ(ask("Block", "('tcp', '3000', @a{sv} {})").error, "");
  EXPECT_EQ(ask("Unblock", "('udp', '3000-3009', {'live': <true>})").error, "");
  EXPECT_EQ(ask("SetAutomatic", "('policy', {'config': <true>})").error, "");
  ASSERT_EQ(controller.asked.size(), 3u);
  EXPECT_EQ(controller.asked[0].forward, "block tcp 3000");
  EXPECT_EQ(controller.asked[1].forward, "unblock udp 3000-3009");
  EXPECT_TRUE(controller.asked[1].scope.live);
  EXPECT_EQ(controller.asked[2].forward, "auto policy");
  EXPECT_TRUE(controller.asked[2].scope.config);
  EXPECT_EQ(ask("Allow", "('tcp', '3000', @a{sv} {})").error, "");
  EXPECT_EQ(ask("Allow", "('tcp', '3000', {'process': <'node'>, 'config': <true>})").error, "");
  EXPECT_EQ(controller.asked[3].forward, "allow tcp 3000 ");
  EXPECT_EQ(controller.asked[4].forward, "allow tcp 3000 node");
  EXPECT_TRUE(controller.asked[4].scope.config);
  const std::string invalid = "org.virtforward1.Error.InvalidArgument";
  EXPECT_EQ(ask("Allow", "('tcp', '3000', {'process': <true>})").error, invalid);
  EXPECT_EQ(ask("Allow", "('tcp', '3000', {'drain': <true>})").error, invalid);
  EXPECT_EQ(ask("Block", "('tcp', '3000', {'process': <'node'>})").error, invalid);
  EXPECT_EQ(ask("Block", "('sctp', '3000', @a{sv} {})").error, invalid);
  EXPECT_EQ(ask("Block", "('tcp', '0', @a{sv} {})").error, invalid);
  EXPECT_EQ(ask("Block", "('tcp', '1', {'drain': <true>})").error, invalid);
  EXPECT_EQ(ask("SetAutomatic", "('on', @a{sv} {})").error, invalid);
  controller.switched = Unexpected(ErrorCode::no_such_forward, "is not blocked");
  EXPECT_EQ(ask("Unblock", "('tcp', '1', @a{sv} {})").error,
            "org.virtforward1.Error.NoSuchForward");
}

TEST_F(BusEdits, EveryErrorKeepsItsNameAndText) {
  const auto peer = connect_peer(socket);
  for (const ErrorCode code :
       {ErrorCode::failed, ErrorCode::invalid_argument, ErrorCode::no_such_domain,
        ErrorCode::no_such_forward, ErrorCode::ambiguous_name, ErrorCode::domain_not_running,
        ErrorCode::port_busy, ErrorCode::not_allowed, ErrorCode::not_supported}) {
    controller.added = Unexpected(code, "do \"this\"\nnext");
    const auto answer = add(peer, "({'guest-port': '22'}, @a{sv} {})");
    EXPECT_EQ(answer.error, std::string(bus_error_prefix) + std::string(error_name(code)));
    EXPECT_EQ(answer.message, "do \"this\"\nnext");
  }
  controller.added = Unexpected(ErrorCode::failed, "bytes \xff");
  EXPECT_EQ(add(peer, "({'guest-port': '22'}, @a{sv} {})").message, "bytes \\xff");
}

TEST_F(BusEdits, RefusesArgumentsByName) {
  const auto peer = connect_peer(socket);
  const char invalid[] = "org.virtforward1.Error.InvalidArgument";
  const auto unknown = add(peer, "({'guest-port': '22'}, {'lively': <true>})");
  EXPECT_EQ(unknown.error, invalid);
  EXPECT_THAT(unknown.message, HasSubstr("\"lively\""));
  const auto drain = add(peer, "({'guest-port': '22'}, {'drain': <true>})");
  EXPECT_THAT(drain.message, HasSubstr("\"drain\""));
  const auto type = add(peer, "({'guest-port': '22'}, {'live': <'yes'>})");
  EXPECT_EQ(type.error, invalid);
  EXPECT_THAT(type.message, HasSubstr("\"live\""));
  EXPECT_EQ(add(peer, "({'a': '1', 'a': '2'}, @a{sv} {})").error, invalid);
  GVariantBuilder many;
  g_variant_builder_init(&many, G_VARIANT_TYPE("a{ss}"));
  for (int number = 0; number < 65; ++number)
    g_variant_builder_add(&many, "{ss}", std::to_string(number).c_str(), "");
  EXPECT_EQ(call(peer, domain_path(uuid1), domain_interface, "AddForward",
                 g_variant_new("(a{ss}a{sv})", &many, nullptr))
                .error,
            invalid);
  EXPECT_TRUE(controller.asked.empty());
}

TEST_F(BusEdits, AddsManyAtOnce) {
  const auto peer = connect_peer(socket);
  const auto add_many = [&](const char* arguments) {
    return call(peer, domain_path(uuid1), domain_interface, "AddForwards",
                g_variant_new_parsed(arguments));
  };
  controller.added = std::vector<ForwardView>{fake_forward()};
  const std::string one = "[('" + forward + "', 8080, 8080)]";
  EXPECT_EQ(add_many("([{'guest-port': '80'}, {'guest-port': '81'}], {'config': <true>})").text(),
            "([" + one + ", " + one + "],)");
  EXPECT_EQ(controller.additions, 1);
  ASSERT_EQ(controller.asked.size(), 2u);
  EXPECT_EQ(controller.asked[1].attributes, (ForwardAttributes{{"guest-port", "81"}}));
  EXPECT_TRUE(controller.asked[1].scope.config);
  EXPECT_EQ(add_many("(@aa{ss} [], @a{sv} {})").text(), "([],)");

  const auto twice = add_many("([{'guest-port': '80'}, {'a': '1', 'a': '2'}], @a{sv} {})");
  EXPECT_EQ(twice.error, "org.virtforward1.Error.InvalidArgument");
  EXPECT_THAT(twice.message, testing::StartsWith("entry 2: attribute \"a\""));
  GVariantBuilder many;
  g_variant_builder_init(&many, G_VARIANT_TYPE("aa{ss}"));
  for (int number = 0; number < 4097; ++number)
    g_variant_builder_add_parsed(&many, "{'guest-port': '80'}");
  EXPECT_THAT(call(peer, domain_path(uuid1), domain_interface, "AddForwards",
                   g_variant_new("(aa{ss}a{sv})", &many, nullptr))
                  .message,
              HasSubstr("at most 4096"));
  EXPECT_EQ(controller.additions, 2);

  // The number of an entry is for those who gave several.
  controller.added = Unexpected(ErrorCode::port_busy, "entry 1: 80 is busy");
  EXPECT_EQ(add_many("([{'guest-port': '80'}], @a{sv} {})").message, "entry 1: 80 is busy");
  EXPECT_EQ(add(peer, "({'guest-port': '80'}, @a{sv} {})").message, "80 is busy");
}

TEST_F(BusEdits, ADryRunIsAskedForByItself) {
  const auto peer = connect_peer(socket);
  controller.added = std::vector<ForwardView>{fake_forward()};
  EXPECT_THAT(add(peer, "({'guest-port': '80'}, {'dry-run': <true>, 'live': <true>})").text(),
              HasSubstr(", 8080, "));
  ASSERT_EQ(controller.asked.size(), 1u);
  EXPECT_EQ(controller.asked[0].forward, "dry-run");
  EXPECT_TRUE(controller.asked[0].scope.live);
  add(peer, "({'guest-port': '80'}, {'dry-run': <false>})");
  EXPECT_EQ(controller.asked[1].forward, "");
}

TEST_F(BusEdits, ChangesAForward) {
  const auto peer = connect_peer(socket);
  controller.added = std::vector<ForwardView>{fake_forward()};
  const auto change = [&](const char* arguments) {
    return call(peer, domain_path(uuid1), domain_interface, "ChangeForward",
                g_variant_new_parsed(arguments));
  };
  EXPECT_THAT(change("('www', {'label': '', 'host-port': '81'}, {'config': <true>})").text(),
              HasSubstr(", 8080, "));
  ASSERT_EQ(controller.asked.size(), 1u);
  EXPECT_EQ(controller.asked[0].forward, "change www");
  EXPECT_THAT(
      controller.asked[0].attributes,
      testing::UnorderedElementsAre(testing::Pair("label", ""), testing::Pair("host-port", "81")));
  EXPECT_TRUE(controller.asked[0].scope.config);
  EXPECT_EQ(change("('www', {'label': ''}, {'dry-run': <true>})").error,
            "org.virtforward1.Error.InvalidArgument");
}

TEST_F(BusEdits, ACallThatIsGivenUpIsAnswered) {
  const auto peer = connect_peer(socket);
  controller.hold = true;
  std::string error;
  g_dbus_connection_call(
      peer.get(), nullptr, domain_path(uuid1).c_str(), domain_interface, "AddForward",
      g_variant_new_parsed("({'guest-port': '22'}, @a{sv} {})"), nullptr, G_DBUS_CALL_FLAGS_NONE,
      -1, nullptr,
      [](GObject* source, GAsyncResult* result, gpointer data) {
        GErrorOut failure;
        const auto value =
            adopt(g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, failure.out()));
        *static_cast<std::string*>(data) =
            take_string(g_dbus_error_get_remote_error(failure.get()));
      },
      &error);
  ASSERT_TRUE(iterate_until([&] { return !controller.held.empty(); }));
  controller.held.clear();
  EXPECT_TRUE(iterate_until([&] { return !error.empty(); }));
  EXPECT_EQ(error, "org.virtforward1.Error.Failed");
}

TEST_F(BusEdits, LateAnswersAfterTheEndAreHarmless) {
  const auto peer = connect_peer(socket);
  controller.hold = true;
  g_dbus_connection_call(peer.get(), nullptr, domain_path(uuid1).c_str(), domain_interface,
                         "AddForward", g_variant_new_parsed("({'guest-port': '22'}, @a{sv} {})"),
                         nullptr, G_DBUS_CALL_FLAGS_NONE, -1, nullptr, nullptr, nullptr);
  ASSERT_TRUE(iterate_until([&] { return !controller.held.empty(); }));
  service.reset();
  EXPECT_EQ(model.observer, nullptr);
  controller.held[0](Controller::Added(1));
  EXPECT_FALSE(std::ifstream(socket));
  EXPECT_TRUE(iterate_until([&] { return g_dbus_connection_is_closed(peer.get()); }));
}

TEST_F(BusEdits, UnansweredCallsHaveABound) {
  const auto peer = connect_peer(socket);
  controller.hold = true;
  for (int number = 0; number < 64; ++number)
    g_dbus_connection_call(peer.get(), nullptr, domain_path(uuid1).c_str(), domain_interface,
                           "AddForward", g_variant_new_parsed("({'guest-port': '22'}, @a{sv} {})"),
                           nullptr, G_DBUS_CALL_FLAGS_NONE, -1, nullptr, nullptr, nullptr);
  const auto refused = add(peer, "({'guest-port': '22'}, @a{sv} {})");
  EXPECT_EQ(refused.error, "org.freedesktop.DBus.Error.LimitsExceeded");
  EXPECT_EQ(controller.held.size(), 64u);
  controller.held.clear();
  controller.hold = false;
  EXPECT_EQ(add(peer, "({'guest-port': '22'}, @a{sv} {})").error, "");
}

}  // namespace
}  // namespace vf
