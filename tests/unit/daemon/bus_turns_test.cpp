// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Callers that ask over and over, beside others.

#include "daemon/bus_turns.h"

#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "bus_peer_lab.h"

namespace vf {
namespace {

TEST(BusTurns, OneCallOfEachCallerIsHandledInATurn) {
  BusTurns turns(100);
  std::string handled;
  const auto add = [&](const char* caller, const std::string& call) {
    return turns.add({nullptr, caller}, [&handled, call] { handled += call; });
  };
  for (const char* call : {"a", "b", "c"})
    EXPECT_TRUE(add("flood", call));
  EXPECT_TRUE(add("other", "1"));
  EXPECT_TRUE(add("other", "2"));
  EXPECT_EQ(handled, "");
  for (const char* so_far : {"a1", "a1b2", "a1b2c"}) {
    g_main_context_iteration(nullptr, TRUE);
    EXPECT_EQ(handled, so_far);
  }
  EXPECT_FALSE(g_main_context_iteration(nullptr, FALSE));
}

TEST(BusTurns, WhoComesLateWaitsForOneCallOfAFlood) {
  BusTurns turns(1000);
  int flood = 0;
  for (int number = 0; number < 1000; ++number)
    turns.add({nullptr, "flood"}, [&] { ++flood; });
  g_main_context_iteration(nullptr, TRUE);
  int before = 0;
  turns.add({nullptr, "other"}, [&] { before = flood; });
  g_main_context_iteration(nullptr, TRUE);
  EXPECT_EQ(before, 2);
}

TEST(BusTurns, WhatWaitsHasABoundForEach) {
  BusTurns turns(2);
  int handled = 0;
  const auto add = [&](const char* caller) {
    return turns.add({nullptr, caller}, [&] { ++handled; });
  };
  EXPECT_TRUE(add("flood"));
  EXPECT_TRUE(add("flood"));
  EXPECT_FALSE(add("flood"));
  EXPECT_TRUE(add("other"));
  g_main_context_iteration(nullptr, TRUE);
  EXPECT_TRUE(add("flood"));
  turns.forget(nullptr);
  while (g_main_context_iteration(nullptr, FALSE)) {
  }
  EXPECT_EQ(handled, 2);
}

class BusFlood : public BusPeerLab {
 protected:
  // The main loop does not go on meanwhile. `answered` counts answers that are no errors.
  static void ask(const Ref<GDBusConnection>& peer, const std::string& path, const char* interface,
                  const char* method, GVariant* arguments, int& answered, int& refused) {
    struct Counts {
      int& answered;
      int& refused;
    };
    g_dbus_connection_call(
        peer.get(), nullptr, path.c_str(), interface, method, arguments, nullptr,
        G_DBUS_CALL_FLAGS_NONE, -1, nullptr,
        [](GObject* source, GAsyncResult* result, gpointer data) {
          const std::unique_ptr<Counts> counts(static_cast<Counts*>(data));
          GErrorOut error;
          const auto value =
              adopt(g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, error.out()));
          ++(value ? counts->answered : counts->refused);
        },
        new Counts{answered, refused});
  }
  // Until the service's end of the socket has read all that was sent.
  static void sent_and_read(const Ref<GDBusConnection>& peer) {
    GErrorOut error;
    ASSERT_TRUE(g_dbus_connection_flush_sync(peer.get(), nullptr, error.out()));
    GSocket* const end = g_socket_connection_get_socket(
        G_SOCKET_CONNECTION(g_dbus_connection_get_stream(peer.get())));
    int unread = 1;
    while (unread > 0) {
      ASSERT_EQ(ioctl(g_socket_get_fd(end), SIOCOUTQ, &unread), 0);
      g_thread_yield();
    }
  }
};

TEST_F(BusFlood, AnotherPeerIsServedBesideIt) {
  const auto flood = connect_peer(socket);
  const auto other = connect_peer(socket);
  constexpr int many = 500;
  int made = 0;
  controller.before_settled = [&] { ++made; };
  int answered = 0;
  int refused = 0;
  for (int number = 0; number < many; ++number)
    ask(flood, root_path, object_manager_interface, "GetManagedObjects", nullptr, answered,
        refused);
  sent_and_read(flood);
  int made_before = many;
  controller.before_added = [&] { made_before = made; };
  int others_answered = 0;
  ask(other, domain_path(uuid1), domain_interface, "AddForward",
      g_variant_new_parsed("({'guest-port': '22'}, @a{sv} {})"), others_answered, refused);
  sent_and_read(other);
  EXPECT_TRUE(iterate_until([&] { return answered == many && others_answered == 1; }));
  EXPECT_LT(made_before, many / 4);
  EXPECT_EQ(refused, 0);
}

// GDBus answers these itself, in the main loop.
TEST_F(BusFlood, IntrospectionsOfAllObjectsHaveABound) {
  const auto flood = connect_peer(socket);
  int answered = 0;
  int refused = 0;
  for (int number = 0; number < 100; ++number)
    ask(flood, forwards_path, "org.freedesktop.DBus.Introspectable", "Introspect", nullptr,
        answered, refused);
  sent_and_read(flood);
  EXPECT_TRUE(iterate_until([&] { return answered + refused == 100; }));
  EXPECT_LT(answered, 50);
  EXPECT_GE(answered, 8);
  const auto later =
      call(flood, forwards_path, "org.freedesktop.DBus.Introspectable", "Introspect");
  EXPECT_NE(later.text(), "");
}

TEST_F(BusFlood, QuestionsThatWantNoAnswerCostNothing) {
  const auto flood = connect_peer(socket);
  const int before = model.listed;
  for (const char* path : {forwards_path, "/org/virtforward1/forward/nosuch"})
    for (int number = 0; number < 100; ++number)
      g_dbus_connection_call(flood.get(), nullptr, path, "org.freedesktop.DBus.Introspectable",
                             "Introspect", nullptr, nullptr, G_DBUS_CALL_FLAGS_NONE, -1, nullptr,
                             nullptr, nullptr);
  const auto later =
      call(flood, forwards_path, "org.freedesktop.DBus.Introspectable", "Introspect");
  EXPECT_NE(later.text(), "");
  EXPECT_LT(model.listed - before, 10);
}

}  // namespace
}  // namespace vf
