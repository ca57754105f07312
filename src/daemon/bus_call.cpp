// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_call.h"

#include "base/printable.h"
#include "glib/object_path.h"

namespace vf {
namespace {

std::string text_of(const gchar* text) {
  return text ? text : "";
}

// A D-Bus message has a bound, and an error's text is for people.
constexpr std::size_t message_bytes = 16 * 1024;

}  // namespace

BusCall::BusCall(GDBusMethodInvocation* invocation, BusKind kind, Answered answered)
    : invocation_(invocation), kind_(kind), answered_(std::move(answered)) {}

BusCall::~BusCall() {
  fail({ErrorCode::failed, "the daemon gave the call up; try again when it runs"});
}

GDBusConnection* BusCall::connection() const {
  return g_dbus_method_invocation_get_connection(invocation_);
}

std::string BusCall::sender() const {
  return kind_ == BusKind::peer ? "" : text_of(g_dbus_method_invocation_get_sender(invocation_));
}

std::string BusCall::path() const {
  return text_of(g_dbus_method_invocation_get_object_path(invocation_));
}

std::string BusCall::interface() const {
  return text_of(g_dbus_method_invocation_get_interface_name(invocation_));
}

std::string BusCall::method() const {
  return text_of(g_dbus_method_invocation_get_method_name(invocation_));
}

GVariant* BusCall::parameters() const {
  return g_dbus_method_invocation_get_parameters(invocation_);
}

bool BusCall::interactive() const {
  const auto flags = g_dbus_message_get_flags(g_dbus_method_invocation_get_message(invocation_));
  return (flags & G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION) != 0;
}

void BusCall::answer(GVariant* value) {
  const Ref<GVariant> owned = borrow(value);
  if (!invocation_) return;
  const Ref<GDBusConnection> to = borrow(connection());
  g_dbus_method_invocation_return_value(std::exchange(invocation_, nullptr), owned.get());
  if (answered_) answered_(to.get(), owned ? g_variant_get_size(owned.get()) : 0);
}

void BusCall::fail(const Error& error) {
  const std::string name = std::string(bus_error_prefix) + std::string(error_name(error.code));
  fail(name.c_str(), error.message);
}

void BusCall::fail(const char* name, const std::string& message) {
  if (!invocation_) return;
  std::string text = message;
  if (text.size() > message_bytes || !g_utf8_validate_len(text.data(), text.size(), nullptr))
    text = printable(message, message_bytes);
  const Ref<GDBusConnection> to = borrow(connection());
  g_dbus_method_invocation_return_dbus_error(std::exchange(invocation_, nullptr), name,
                                             text.c_str());
  if (answered_) answered_(to.get(), text.size());
}

}  // namespace vf
