// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/permissions.h"

#include <gio/gio.h>
#include <unistd.h>

#include <algorithm>

#include "doctor/check.h"
#include "glib/ref.h"

namespace vf {
namespace {

constexpr int polkit_milliseconds = 5000;
constexpr const char* actions[] = {"org.virtforward1.read", "org.virtforward1.add",
                                   "org.virtforward1.remove"};

// By a user's rule, which is what the group of libvirt has.
std::string join_group(const std::string& user) {
  return "usermod --append --groups libvirt " + user + "   # then log in again";
}

}  // namespace

void judge_polkit(const std::string& user, const Result<std::vector<PolkitAnswer>>& answers,
                  Findings& findings) {
  if (!answers) {
    findings.push_back({FindingId::polkit, Severity::not_checked, user,
                        "what polkit lets this user do: " + answers.error().message,
                        "sudo virt-forward doctor"});
    return;
  }
  std::string unknown;
  for (const PolkitAnswer& answer : *answers) {
    if (!answer.known) {
      unknown += (unknown.empty() ? "" : " ") + answer.action;
      continue;
    }
    if (answer.authorized) continue;
    findings.push_back({FindingId::polkit_refuses,
                        answer.challenge ? Severity::warning : Severity::error, user,
                        "polkit's answer to " + answer.action + " is " +
                            (answer.challenge ? "\"not without a password\"" : "\"no\""),
                        join_group(user)});
  }
  if (!unknown.empty())
    findings.push_back(
        {FindingId::polkit_actions_missing, Severity::error, unknown,
         "polkit does not know these actions, so it lets nobody but root do them",
         "reinstall virt-forward: /usr/share/polkit-1/actions/org.virtforward1.policy "
         "is missing or cannot be read"});
}

Result<std::vector<PolkitAnswer>> ask_polkit() {
  GErrorOut error;
  const auto bus = adopt(g_bus_get_sync(G_BUS_TYPE_SYSTEM, nullptr, error.out()));
  if (!bus) return Unexpected(ErrorCode::failed, "there is no system bus: " + error.message());
  std::vector<PolkitAnswer> answers;
  for (const char* const action : actions) {
    PolkitAnswer answer{action};
    GVariantBuilder subject;
    g_variant_builder_init(&subject, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&subject, "{sv}", "name",
                          g_variant_new_string(g_dbus_connection_get_unique_name(bus.get())));
    const auto reply = adopt(g_dbus_connection_call_sync(
        bus.get(), "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
        "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization",
        g_variant_new("((s@a{sv})s@a{ss}us)", "system-bus-name", g_variant_builder_end(&subject),
                      action, g_variant_new_array(G_VARIANT_TYPE("{ss}"), nullptr, 0), 0u, ""),
        G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE, polkit_milliseconds, nullptr,
        error.out()));
    if (reply) {
      gboolean authorized = FALSE;
      gboolean challenge = FALSE;
      g_variant_get(reply.get(), "((bb@a{ss}))", &authorized, &challenge, nullptr);
      answer.authorized = authorized;
      answer.challenge = challenge;
    } else if (error.message().find("is not registered") != std::string::npos) {
      answer.known = false;
    } else {
      return Unexpected(ErrorCode::failed, "polkit does not answer: " + error.message());
    }
    answers.push_back(std::move(answer));
  }
  return answers;
}

void check_permissions(const Seen& seen, Findings& findings) {
  const bool system =
      std::ranges::any_of(seen.daemons, [](const SeenDaemon& daemon) { return daemon.system; });
  if (seen.root || !system) return;
  judge_polkit(user_name(getuid()), ask_polkit(), findings);
}

}  // namespace vf
