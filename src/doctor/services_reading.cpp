// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gio/gio.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "doctor/library.h"
#include "doctor/services.h"
#include "glib/ref.h"

namespace vf {
namespace {

constexpr std::chrono::seconds libvirt_time{5};
constexpr int systemd_milliseconds = 3000;

constexpr const char* our_units[] = {"virt-forward.target", "virt-forwardd.socket",
                                     "virt-forward-relay.socket", "virt-forward-ssh.socket"};

Result<void> libvirt_version(const Library& library, const std::string& uri) {
  auto* const open = library.function<decltype(virConnectOpenReadOnly)>("virConnectOpenReadOnly");
  auto* const close = library.function<decltype(virConnectClose)>("virConnectClose");
  auto* const version =
      library.function<decltype(virConnectGetLibVersion)>("virConnectGetLibVersion");
  auto* const said = library.function<decltype(virGetLastErrorMessage)>("virGetLastErrorMessage");
  auto* const quiet = library.function<decltype(virSetErrorFunc)>("virSetErrorFunc");
  if (!open || !close || !version || !said || !quiet)
    return Unexpected(ErrorCode::not_supported, "libvirt's library is of another kind");
  quiet(nullptr, [](void*, virErrorPtr) {});
  const virConnectPtr connection = open(uri.c_str());
  unsigned long number = 0;
  if (!connection || version(connection, &number) != 0) {
    const Unexpected error(ErrorCode::failed, said());
    if (connection) close(connection);
    return error;
  }
  close(connection);
  return {};
}

}  // namespace

Result<void> ask_libvirt(const std::string& uri) {
  const auto library = Library::load("libvirt.so.0");
  if (!library) return Unexpected(library.error());
  // Left behind when it is late: the program ends soon.
  const auto promise = std::make_shared<std::promise<Result<void>>>();
  auto answer = promise->get_future();
  std::thread([promise, library = *library, uri] {
    promise->set_value(libvirt_version(library, uri));
  }).detach();
  if (answer.wait_for(libvirt_time) == std::future_status::ready) return answer.get();
  return Unexpected(ErrorCode::no_daemon,
                    "libvirt does not answer: it accepts connections and says nothing for " +
                        std::to_string(libvirt_time.count()) + " s");
}

std::optional<Result<std::vector<UnitState>>> read_units() {
  if (access("/run/systemd/system", F_OK) != 0) return std::nullopt;
  GErrorOut error;
  const auto bus = adopt(g_bus_get_sync(G_BUS_TYPE_SYSTEM, nullptr, error.out()));
  if (!bus) return Unexpected(ErrorCode::failed, error.message());
  std::vector<UnitState> states;
  for (const char* const unit : our_units) {
    const auto reply = adopt(g_dbus_connection_call_sync(
        bus.get(), "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager", "GetUnitFileState", g_variant_new("(s)", unit),
        G_VARIANT_TYPE("(s)"), G_DBUS_CALL_FLAGS_NO_AUTO_START, systemd_milliseconds, nullptr,
        error.out()));
    const gchar* state = "";
    if (reply)
      g_variant_get(reply.get(), "(&s)", &state);
    else if (!g_error_matches(error.get(), G_DBUS_ERROR, G_DBUS_ERROR_FILE_NOT_FOUND) &&
             take_string(g_dbus_error_get_remote_error(error.get())) !=
                 "org.freedesktop.systemd1.NoSuchUnit")
      return Unexpected(ErrorCode::failed, error.message());
    states.push_back({unit, state});
  }
  return states;
}

}  // namespace vf
