// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/address.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "base/printable.h"
#include "base/unix_address.h"
#include "client/session_daemon.h"
#include "glib/ref.h"

namespace vf {
namespace {

constexpr std::string_view system_uri = "qemu:///system";
constexpr std::string_view session_uri = "qemu:///session";

std::string environment(const char* name) {
  const char* value = g_getenv(name);
  return value ? value : "";
}

std::string unix_address(const std::string& path) {
  return "unix:path=" + take_string(g_dbus_address_escape_value(path.c_str()));
}

// A socket that is not ours to use (another user's) is no way to a daemon.
void append_socket(Instance& instance, const std::string& path) {
  if (access(path.c_str(), R_OK | W_OK) == 0)
    instance.addresses.push_back({unix_address(path), false});
}

bool may_exist(const std::string& path) {
  return access(path.c_str(), F_OK) == 0 || errno == EACCES;
}

// A bus whose socket is gone, or was left behind by one that is, does not.
bool may_answer(const std::string& bus) {
  constexpr std::string_view path_prefix = "unix:path=";
  if (!bus.starts_with(path_prefix)) return !bus.empty();
  return somebody_listens(
      bus.substr(path_prefix.size(), bus.find_first_of(",;") - path_prefix.size()));
}

std::string quoted(const std::string& argument) {
  const bool plain =
      !argument.empty() && argument.find_first_not_of(
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "-_./:=@%+,") == std::string::npos;
  return plain ? argument : take_string(g_shell_quote(argument.c_str()));
}

// ssh joins its arguments with spaces for the other host's shell: what needs quotes needs them for
// both shells.
std::string ssh_line(const std::string& destination, const std::vector<std::string>& arguments) {
  std::string command = "virt-forward";
  for (const std::string& argument : arguments)
    command += ' ' + quoted(argument);
  const bool plain = command.find_first_of("'\\") == std::string::npos;
  return "ssh " + destination + ' ' +
         (plain ? command : take_string(g_shell_quote(command.c_str())));
}

}  // namespace

Result<std::string> local_uri(std::string_view uri, const std::vector<std::string>& arguments) {
  if (uri == "system") return std::string(system_uri);
  if (uri == "session") return std::string(session_uri);
  const std::size_t scheme_end = uri.find("://");
  if (scheme_end == std::string_view::npos || scheme_end == 0)
    return Unexpected(
        ErrorCode::invalid_argument,
        '"' + printable(uri) +
            "\" is not a libvirt URI; allowed are qemu:///system, qemu:///session and "
            "what a daemon here is connected to");
  const std::string_view scheme = uri.substr(0, scheme_end);
  const std::string_view rest = uri.substr(scheme_end + 3);
  const std::size_t path_start = rest.find_first_of("/?");
  const std::string_view authority = rest.substr(0, path_start);
  const std::string path(path_start == std::string_view::npos ? "" : rest.substr(path_start));
  const std::string_view driver = scheme.substr(0, scheme.find('+'));
  const std::string_view transport =
      driver.size() == scheme.size() ? "" : scheme.substr(driver.size() + 1);
  if (authority.empty()) {
    if (transport == "unix" && driver == "qemu") return "qemu://" + path.substr(0, path.find('?'));
    return std::string(uri);
  }

  std::string destination(authority);
  const std::size_t colon = destination.rfind(':');
  if (colon != std::string::npos && destination.find(']', colon) == std::string::npos) {
    const std::string port = destination.substr(colon + 1);
    destination.erase(colon);
    if (transport == "ssh" || transport == "libssh" || transport == "libssh2")
      destination = "-p " + quoted(port) + ' ' + quoted(destination);
    else
      destination = quoted(destination);
  } else {
    destination = quoted(destination);
  }
  const std::string uri_there = std::string(driver) + "://" + path.substr(0, path.find('?'));
  std::vector<std::string> there = arguments;
  for (std::string& argument : there)  // "URI", "--connect=URI" or "-cURI"
    if (argument.ends_with(uri))
      argument.replace(argument.size() - uri.size(), uri.size(), uri_there);
  return Unexpected(ErrorCode::invalid_argument,
                    '"' + printable(uri) +
                        "\" is another host, whose forwards its own daemon makes; run there: " +
                        printable(ssh_line(destination, there)));
}

Error none_runs(const std::vector<Instance>& tried) {
  for (const Instance& instance : tried)
    if (instance.out_of_reach)
      return {ErrorCode::not_allowed, instance.title +
                                          " is for root alone here: no message bus answers, by "
                                          "which others could ask it; use sudo, or start the bus "
                                          "(systemctl start dbus.socket)"};
  std::string message = "no daemon runs";
  std::string separator = "; start ";
  for (const Instance& instance : tried) {
    if (instance.start.empty()) {
      message += separator + "virt-forwardd: nobody answers as " + instance.title;
    } else {
      message += separator + instance.title + " with: " + instance.start;
      if (instance.uri == "qemu:///system") message += " (as root)";
    }
    separator = ", or ";
  }
  return {ErrorCode::no_daemon, message};
}

bool somebody_listens(const std::string& path) {
  const auto address = UnixAddress::from(path);
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return address && probe &&
         (connect(probe.get(), address->get(), address->length) == 0 || errno == EAGAIN);
}

Instance system_instance() {
  Instance instance{"the system daemon",
                    std::string(system_uri),
                    "systemctl enable --now virt-forward.target",
                    {}};
  const std::string socket = "/run/virt-forward/bus.sock";
  append_socket(instance, socket);
  const bool guarded = instance.addresses.empty() && may_exist(socket);
  GErrorOut error;
  const std::string bus =
      take_string(g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, nullptr, error.out()));
  if (!bus.empty()) instance.addresses.push_back({bus, true});
  instance.out_of_reach = guarded && !may_answer(bus);
  return instance;
}

std::string user_runtime_directory() {
  const std::string directory = environment("XDG_RUNTIME_DIR");
  return directory.empty() ? "/run/user/" + std::to_string(getuid()) : directory;
}

std::string session_socket() {
  return user_runtime_directory() + "/virt-forward/bus.sock";
}

bool has_user_systemd() {
  return access((user_runtime_directory() + "/systemd/private").c_str(), F_OK) == 0;
}

Instance session_instance(Wake wake) {
  Instance instance{"your session daemon",
                    std::string(session_uri),
                    "systemctl --user enable --now virt-forwardd.socket",
                    {}};
  instance.patience = std::chrono::seconds(10);
  const std::string runtime = user_runtime_directory();
  if (wake == Wake::yes || !has_user_systemd() || session_was_used())
    append_socket(instance, session_socket());
  // GLib would start a bus of its own where there is none: only one that is named or there counts.
  std::string bus = environment("DBUS_SESSION_BUS_ADDRESS");
  if (bus.empty() && access((runtime + "/bus").c_str(), R_OK | W_OK) == 0)
    bus = unix_address(runtime + "/bus");
  if (!bus.empty()) instance.addresses.push_back({bus, true});
  return instance;
}

Instance instance_at(const std::string& dbus_address) {
  return {"the daemon at " + printable(dbus_address), "", "", {{dbus_address, false}}};
}

}  // namespace vf
