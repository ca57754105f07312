// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_authority.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace vf {
namespace {

constexpr int answer_timeout_ms = 10'000;
// A person types a password.
constexpr int interactive_timeout_ms = 5 * 60 * 1000;
constexpr guint32 allow_user_interaction = 1;

struct ActionRow {
  BusAction action;
  const char* id;
  const char* deed;
};

// Who takes an action must be allowed each of its rows.
constexpr ActionRow action_table[] = {
    {BusAction::read, "org.virtforward1.read", "see forwards"},
    {BusAction::add, "org.virtforward1.add", "add forwards"},
    {BusAction::remove, "org.virtforward1.remove", "remove forwards"},
    {BusAction::change, "org.virtforward1.add", "change forwards"},
    {BusAction::change, "org.virtforward1.remove", "change forwards"},
};

const ActionRow* row_of(BusAction action, const ActionRow* from = std::begin(action_table)) {
  return std::find_if(from, std::end(action_table),
                      [&](const ActionRow& row) { return row.action == action; });
}

// One check under way; it frees itself when it is answered.
struct Check {
  std::shared_ptr<BusCall> call;
  const ActionRow* row;  // asked for now
  BusAuthority::Answer answer;
  guint32 uid = 0;

  std::string who() const { return "uid " + std::to_string(uid) + " may not " + row->deed + ": "; }
  void refuse(const std::string& message) const {
    answer(Unexpected(ErrorCode::not_allowed, message));
  }
};

void ask_polkit(std::unique_ptr<Check> check);

void polkit_answered(GObject* source, GAsyncResult* result, gpointer data) noexcept {
  std::unique_ptr<Check> check(static_cast<Check*>(data));
  GErrorOut error;
  const auto reply =
      adopt(g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, error.out()));
  if (!reply) {
    check->refuse(check->who() + "polkit, which would know, does not answer (" + error.message() +
                  "); run it as root, or start polkit");
    return;
  }
  gboolean authorized = FALSE;
  gboolean challenge = FALSE;
  g_variant_get(reply.get(), "((bba{ss}))", &authorized, &challenge, nullptr);
  if (authorized) {
    check->row = row_of(check->row->action, check->row + 1);
    if (check->row != std::end(action_table)) return ask_polkit(std::move(check));
    check->answer({});
    return;
  }
  const std::string advice =
      challenge ? "an administrator's password is needed and nobody was asked for it; run it as "
                  "root, or join the group libvirt"
                : "run it as root, or join the group libvirt";
  check->refuse(check->who() + advice + " (polkit action " + check->row->id + ")");
}

void ask_polkit(std::unique_ptr<Check> check) {
  const bool interactive = check->call->interactive();
  GVariantBuilder subject;
  g_variant_builder_init(&subject, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add(&subject, "{sv}", "name",
                        g_variant_new_string(check->call->sender().c_str()));
  GDBusConnection* connection = check->call->connection();
  GVariant* arguments =
      g_variant_new("((sa{sv})sa{ss}us)", "system-bus-name", &subject, check->row->id, nullptr,
                    interactive ? allow_user_interaction : 0, "");
  g_dbus_connection_call(connection, "org.freedesktop.PolicyKit1",
                         "/org/freedesktop/PolicyKit1/Authority",
                         "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization", arguments,
                         G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE,
                         interactive ? interactive_timeout_ms : answer_timeout_ms, nullptr,
                         polkit_answered, check.release());
}

void uid_known(GObject* source, GAsyncResult* result, gpointer data) noexcept {
  std::unique_ptr<Check> check(static_cast<Check*>(data));
  GErrorOut error;
  const auto reply =
      adopt(g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, error.out()));
  if (!reply) {
    check->refuse("the bus does not say who calls: " + error.message());
    return;
  }
  g_variant_get(reply.get(), "(u)", &check->uid);
  const bool system = check->call->kind() == BusKind::system;
  if (check->uid == geteuid() || (system && check->uid == 0))
    check->answer({});
  else if (system)
    ask_polkit(std::move(check));
  else
    check->refuse(check->who() + "this daemon serves uid " + std::to_string(geteuid()) + " only");
}

}  // namespace

void BusAuthority::check(const std::shared_ptr<BusCall>& call, BusAction action,
                         Answer answer) const {
  if (call->kind() == BusKind::peer) {
    answer({});
    return;
  }
  auto check = std::make_unique<Check>(Check{call, row_of(action), std::move(answer)});
  g_dbus_connection_call(
      call->connection(), "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
      "GetConnectionUnixUser", g_variant_new("(s)", call->sender().c_str()), G_VARIANT_TYPE("(u)"),
      G_DBUS_CALL_FLAGS_NONE, answer_timeout_ms, nullptr, uid_known, check.release());
}

}  // namespace vf
