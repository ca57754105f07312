// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_backlog.h"

#include <atomic>
#include <string>

#include "daemon/journal.h"

namespace vf {
namespace {

// What a message in GDBus's queue costs besides its body.
constexpr std::size_t message_bytes = 1024;

}  // namespace

struct BusBacklog::Shared {
  explicit Shared(std::size_t most) : most_calls(most) {}

  static GDBusMessage* filter(GDBusConnection* connection, GDBusMessage* message, gboolean incoming,
                              gpointer data) noexcept {
    Shared& shared = **static_cast<std::shared_ptr<Shared>*>(data);
    const GDBusMessageType type = g_dbus_message_get_message_type(message);
    if (!incoming) {
      shared.written = g_dbus_message_get_serial(message);
      const bool answer =
          type == G_DBUS_MESSAGE_TYPE_METHOD_RETURN || type == G_DBUS_MESSAGE_TYPE_ERROR;
      if (answer && shared.calls > 0) --shared.calls;
      return message;
    }
    if (type == G_DBUS_MESSAGE_TYPE_METHOD_CALL &&
        !(g_dbus_message_get_flags(message) & G_DBUS_MESSAGE_FLAGS_NO_REPLY_EXPECTED) &&
        ++shared.calls > shared.most_calls)
      shared.cut_off(connection, {{"calls", std::to_string(shared.calls)}});
    if (!shared.cut) return message;
    g_object_unref(message);
    return nullptr;
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

  const std::size_t most_calls;
  std::size_t calls = 0;            // GDBus's thread only
  std::atomic<guint32> written{0};  // the serial that last left the queue
  std::atomic<bool> cut{false};
};

BusBacklog::BusBacklog(GDBusConnection* connection, Limits limits)
    : connection_(borrow(connection)),
      most_bytes_(limits.bytes),
      shared_(std::make_shared<Shared>(limits.calls)),
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
