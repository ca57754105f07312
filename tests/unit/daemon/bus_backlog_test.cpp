// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Clients of the private socket that read nothing.

#include "daemon/bus_backlog.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "bus_fake.h"
#include "bus_lab.h"
#include "glib/object_path.h"
#include "glib/source.h"

namespace vf {
namespace {

constexpr std::size_t mebibyte = 1 << 20;

class BusBacklogTest : public testing::Test {
 protected:
  BusBacklogTest() {
    model.add(fake_domain());
    model.add(fake_forward());
    auto started = BusService::start({BusService::Bus::none, socket}, model, controller);
    EXPECT_TRUE(started) << started.error().message;
    service = *std::move(started);

    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socket.copy(name.sun_path, sizeof name.sun_path - 1);
    EXPECT_EQ(connect(mute.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    unsent = std::string("\0AUTH EXTERNAL ", 15);
    for (const char digit : std::to_string(geteuid()))
      unsent += {'3', digit};
    unsent += "\r\nBEGIN\r\n";
  }

  void will_call(const char* path, const char* interface, const char* method) {
    const auto message = adopt(g_dbus_message_new_method_call(nullptr, path, interface, method));
    g_dbus_message_set_serial(message.get(), ++serial);
    gsize size = 0;
    const GCharPtr blob(reinterpret_cast<gchar*>(
        g_dbus_message_to_blob(message.get(), &size, G_DBUS_CAPABILITY_FLAGS_NONE, nullptr)));
    unsent.append(blob.get(), size);
  }

  // Sends what it can of what is to be sent.
  bool is_cut() {
    while (!unsent.empty()) {
      const ssize_t sent =
          send(mute.get(), unsent.data(), unsent.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent <= 0) break;
      unsent.erase(0, static_cast<std::size_t>(sent));
    }
    pollfd state{mute.get(), POLLRDHUP, 0};
    poll(&state, 1, 0);
    return (state.revents & (POLLRDHUP | POLLHUP)) != 0;
  }

  bool others_are_served() {
    return !call(connect_peer(socket), root_path, object_manager_interface, "GetManagedObjects")
                .text()
                .empty();
  }

  ScratchDirectory directory;
  std::string socket = directory.path("bus.sock");
  FakeModel model;
  FakeController controller;
  std::unique_ptr<BusService> service;
  Fd mute{::socket(AF_UNIX, SOCK_STREAM, 0)};
  std::string unsent;
  guint32 serial = 0;
  Source tick = every(std::chrono::milliseconds(5), [] {});
};

TEST_F(BusBacklogTest, SignalsThatAreNotReadCutThePeerOff) {
  ForwardView view = fake_forward();
  std::size_t sent = 0;
  EXPECT_TRUE(iterate_until([&] {
    view.label.assign(mebibyte, static_cast<char>('a' + sent % 26));
    model.change(view);
    ++sent;
    return is_cut();
  }));
  EXPECT_GT(sent, 64u);
  EXPECT_TRUE(others_are_served());
}

TEST_F(BusBacklogTest, AnswersThatAreNotReadCutThePeerOff) {
  ForwardView view = fake_forward();
  view.label.assign(mebibyte, 'a');
  model.change(view);
  int made = 0;
  controller.before_settled = [&] { ++made; };
  for (int number = 0; number < 500; ++number)
    will_call(root_path, object_manager_interface, "GetManagedObjects");
  EXPECT_TRUE(iterate_until([&] { return is_cut(); }));
  EXPECT_TRUE(others_are_served());
  EXPECT_GE(made, 64);
  EXPECT_LT(made, 80);
}

// GDBus answers these itself, on its own thread.
TEST_F(BusBacklogTest, CallsOfNoObjectWithAnswersThatAreNotReadCutThePeerOff) {
  for (int number = 0; number < 20'000; ++number)
    will_call("/none", "org.example.None", "None");
  EXPECT_TRUE(iterate_until([&] { return is_cut(); }));
  EXPECT_TRUE(others_are_served());
}

// More in all than may wait.
TEST_F(BusBacklogTest, WhoReadsIsServedOn) {
  ForwardView view = fake_forward();
  view.label.assign(8 * mebibyte, 'a');
  model.change(view);
  const auto peer = connect_peer(socket);
  for (int number = 0; number < 12; ++number)
    EXPECT_TRUE(call(peer, root_path, object_manager_interface, "GetManagedObjects").value);
  EXPECT_FALSE(g_dbus_connection_is_closed(peer.get()));
}

}  // namespace
}  // namespace vf
