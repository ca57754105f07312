// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_connection.h"

#include <algorithm>

#include "daemon/journal.h"
#include "glib/object_path.h"

namespace vf {
namespace {

constexpr std::chrono::seconds first_delay{1};
constexpr std::chrono::seconds longest_delay{60};

const char* type_name(GBusType type) {
  return type == G_BUS_TYPE_SYSTEM ? "system" : "session";
}

// Not g_dbus_address_get_for_bus_sync() for a session: it would start a bus of its own with
// dbus-launch. Empty: there is none.
std::string bus_address(GBusType type) {
  if (type == G_BUS_TYPE_SYSTEM)
    return take_string(g_dbus_address_get_for_bus_sync(type, nullptr, nullptr));
  if (const gchar* address = g_getenv("DBUS_SESSION_BUS_ADDRESS"); address && *address)
    return address;
  const GCharPtr path(g_build_filename(g_get_user_runtime_dir(), "bus", nullptr));
  if (!g_file_test(path.get(), G_FILE_TEST_EXISTS)) return {};
  return "unix:path=" + take_string(g_dbus_address_escape_value(path.get()));
}

}  // namespace

BusConnection::BusConnection(GBusType type, Handler handler)
    : type_(type), handler_(std::move(handler)), delay_(first_delay) {
  connect();
}

BusConnection::~BusConnection() {
  if (attempt_) g_cancellable_cancel(attempt_.get());
  drop();
}

void BusConnection::connect() {
  const std::string address = bus_address(type_);
  if (address.empty()) {
    retry("there is none");
    return;
  }
  const auto flags =
      static_cast<GDBusConnectionFlags>(G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                        G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION);
  const auto done = [](GObject*, GAsyncResult* result, gpointer data) noexcept {
    GErrorOut error;
    auto connection = adopt(g_dbus_connection_new_for_address_finish(result, error.out()));
    if (error && g_error_matches(error.get(), G_IO_ERROR, G_IO_ERROR_CANCELLED)) return;
    auto* self = static_cast<BusConnection*>(data);
    self->attempt_ = {};
    if (connection)
      self->connected(std::move(connection));
    else
      self->retry(error.message());
  };
  attempt_ = adopt(g_cancellable_new());
  g_dbus_connection_new_for_address(address.c_str(), flags, nullptr, attempt_.get(), done, this);
}

void BusConnection::connected(Ref<GDBusConnection> connection) {
  connection_ = std::move(connection);
  g_signal_connect(connection_.get(), "closed", G_CALLBACK(closed), this);
  if (g_dbus_connection_is_closed(connection_.get()) || !handler_.came(connection_.get())) {
    lost();
    return;
  }
  const auto acquired = [](GDBusConnection*, const gchar*, gpointer data) noexcept {
    auto* self = static_cast<BusConnection*>(data);
    self->delay_ = first_delay;
    self->told_ = false;
    log(LogLevel::info, "serving D-Bus", {{"bus", type_name(self->type_)}});
  };
  const auto refused = [](GDBusConnection* on, const gchar* name, gpointer data) noexcept {
    if (!on || g_dbus_connection_is_closed(on)) return;
    log(LogLevel::warning, "the bus gives its name to somebody else, or forbids it",
        {{"bus", type_name(static_cast<BusConnection*>(data)->type_)}, {"name", name}});
  };
  owner_ = g_bus_own_name_on_connection(connection_.get(), bus_name, G_BUS_NAME_OWNER_FLAGS_NONE,
                                        acquired, refused, this, nullptr);
}

void BusConnection::closed(GDBusConnection*, gboolean, GError*, gpointer self) noexcept {
  static_cast<BusConnection*>(self)->lost();
}

void BusConnection::lost() {
  drop();
  retry("the connection ended");
}

void BusConnection::drop() {
  if (!connection_) return;
  const Ref<GDBusConnection> connection = std::move(connection_);
  g_signal_handlers_disconnect_by_data(connection.get(), this);
  if (owner_ != 0) g_bus_unown_name(std::exchange(owner_, 0));
  handler_.left(connection.get());
  g_dbus_connection_close(connection.get(), nullptr, nullptr, nullptr);
}

void BusConnection::retry(const std::string& reason) {
  if (!told_)
    log(LogLevel::notice, "no D-Bus; the private socket serves on",
        {{"bus", type_name(type_)}, {"reason", reason}});
  told_ = true;
  timer_ = after(delay_, [this] { connect(); });
  delay_ = std::min(delay_ * 2, longest_delay);
}

}  // namespace vf
