// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_backlog.h"

#include <atomic>
#include <set>
#include <string>
#include <string_view>

#include "daemon/journal.h"

namespace vf {
namespace {

// What a message in GDBus's queue costs besides its body.
constexpr std::size_t message_bytes = 1024;

}  // namespace

struct BusBacklog::Shared {
  explicit Shared(const Limits& limits) : most(limits) {}

  static GDBusMessage* filter(GDBusConnection* connection, GDBusMessage* message, gboolean incoming,
                              gpointer data) noexcept {
    Shared& shared = **static_cast<std::shared_ptr<Shared>*>(data);
    const GDBusMessageType type = g_dbus_message_get_message_type(message);
    if (!incoming) {
      shared.written = g_dbus_message_get_serial(message);
      const bool answer =
          type == G_DBUS_MESSAGE_TYPE_METHOD_RETURN || type == G_DBUS_MESSAGE_TYPE_ERROR;
      if (answer && shared.calls > 0) --shared.calls;
      if (answer) shared.introspections.erase(g_dbus_message_get_reply_serial(message));
      return message;
    }
    if (asks_for_nothing(message)) {
      g_object_unref(message);
      return nullptr;
    }
    const bool call = type == G_DBUS_MESSAGE_TYPE_METHOD_CALL &&
                      !(g_dbus_message_get_flags(message) & G_DBUS_MESSAGE_FLAGS_NO_REPLY_EXPECTED);
    if (call && ++shared.calls > shared.most.calls)
      shared.cut_off(connection, {{"calls", std::to_string(shared.calls)}});
    if (!shared.cut && !(call && shared.too_much(message))) return message;
    if (!shared.cut) refuse(connection, message);
    g_object_unref(message);
    return nullptr;
  }

  // A question whose answer nobody wants: all that D-Bus itself defines is a question here.
  static bool asks_for_nothing(GDBusMessage* message) {
    const char* const interface = g_dbus_message_get_interface(message);
    return g_dbus_message_get_message_type(message) == G_DBUS_MESSAGE_TYPE_METHOD_CALL &&
           (g_dbus_message_get_flags(message) & G_DBUS_MESSAGE_FLAGS_NO_REPLY_EXPECTED) != 0 &&
           interface && std::string_view(interface).starts_with("org.freedesktop.DBus.");
  }

  bool too_much(GDBusMessage* call) {
    if (calls > most.pending) return true;
    if (g_strcmp0(g_dbus_message_get_interface(call), "org.freedesktop.DBus.Introspectable") != 0)
      return false;
    if (introspections.size() >= most.introspections) return true;
    introspections.insert(g_dbus_message_get_serial(call));
    return false;
  }

  static void refuse(GDBusConnection* connection, GDBusMessage* call) {
    const auto error = adopt(g_dbus_message_new_method_error_literal(
        call, "org.freedesktop.DBus.Error.LimitsExceeded",
        "too many unanswered calls; wait for their answers"));
    g_dbus_connection_send_message(connection, error.get(), G_DBUS_SEND_MESSAGE_FLAGS_NONE, nullptr,
                                   nullptr);
  }

  static void forget(gpointer data) noexcept { delete static_cast<std::shared_ptr<Shared>*>(data); }

  // On either thread.
  void cut_off(GDBusConnection* connection, const LogFields& fields) {
    if (cut.exchange(true)) return;
    log(LogLevel::warning, "a client of the private socket does not read; it is cut off", fields);
    GIOStream* stream = g_dbus_connection_get_stream(connection);
    if (stream && G_IS_SOCKET_CONNECTION(stream))
      g_socket_shutdown(g_socket_connection_get_socket(G_SOCKET_CONNECTION(stream)), TRUE, TRUE,
                        nullptr);
  }

  const Limits most;
  std::size_t calls = 0;             // GDBus's thread only, as the next
  std::set<guint32> introspections;  // the serials of calls that wait for an answer
  std::atomic<guint32> written{0};   // the serial that last left the queue
  std::atomic<bool> cut{false};
};

BusBacklog::BusBacklog(GDBusConnection* connection, Limits limits)
    : connection_(borrow(connection)),
      most_bytes_(limits.bytes),
      shared_(std::make_shared<Shared>(limits)),
      filter_(g_dbus_connection_add_filter(connection, Shared::filter,
                                           new std::shared_ptr<Shared>(shared_), Shared::forget)) {}

// The filter may be at work while it is removed; it has its own share.
BusBacklog::~BusBacklog() {
  g_dbus_connection_remove_filter(connection_.get(), filter_);
}

void BusBacklog::sent(std::size_t bytes) {
  add(g_dbus_connection_get_last_serial(connection_.get()), bytes);
}

void BusBacklog::sending(std::size_t bytes) {
  add(g_dbus_connection_get_last_serial(connection_.get()) + 1, bytes);
}

bool BusBacklog::cut() const {
  return shared_->cut;
}

void BusBacklog::add(guint32 serial, std::size_t bytes) {
  queued_.emplace_back(serial, bytes + message_bytes);
  queued_bytes_ += queued_.back().second;
  const guint32 written = shared_->written;
  while (!queued_.empty() && queued_.front().first <= written) {
    queued_bytes_ -= queued_.front().second;
    queued_.pop_front();
  }
  if (queued_bytes_ > most_bytes_)
    shared_->cut_off(connection_.get(), {{"bytes", std::to_string(queued_bytes_)}});
}

}  // namespace vf
