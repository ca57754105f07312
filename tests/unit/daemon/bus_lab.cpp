// SPDX-License-Identifier: LGPL-2.1-or-later

#include "bus_lab.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "glib/object_path.h"
#include "glib/source.h"

namespace vf {
namespace {

constexpr std::chrono::seconds patience{60};
constexpr int call_timeout_ms = 55'000;

struct Waiting {
  bool done = false;
  Ref<GVariant> value;
  GError* error = nullptr;
};

Ref<GDBusConnection> connect_to(const std::string& address, int flags) {
  struct State {
    bool done = false;
    Ref<GDBusConnection> connection;
    std::string error;
  } state;
  g_dbus_connection_new_for_address(
      address.c_str(), static_cast<GDBusConnectionFlags>(flags), nullptr, nullptr,
      [](GObject*, GAsyncResult* result, gpointer data) {
        auto* waiting = static_cast<State*>(data);
        GErrorOut error;
        waiting->connection = adopt(g_dbus_connection_new_for_address_finish(result, error.out()));
        waiting->error = error.message();
        waiting->done = true;
      },
      &state);
  EXPECT_TRUE(iterate_until([&] { return state.done; }));
  EXPECT_TRUE(state.connection) << state.error;
  return state.connection;
}

}  // namespace

ScratchDirectory::ScratchDirectory() {
  std::string name = std::filesystem::temp_directory_path() / "vf-bus-XXXXXX";
  if (mkdtemp(name.data())) path_ = name;
  chmod(path_.c_str(), 0755);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

bool iterate_until(const std::function<bool()>& condition) {
  bool late = false;
  const Source deadline = after(patience, [&] { late = true; });
  while (!condition() && !late)
    g_main_context_iteration(nullptr, TRUE);
  return condition();
}

PrivateBus::PrivateBus() {
  start();
}

PrivateBus::~PrivateBus() {
  stop();
}

std::string PrivateBus::address() const {
  return "unix:path=" + directory_.path("bus");
}

void PrivateBus::start() {
  const std::string config = directory_.path("bus.conf");
  std::ofstream(config)
      << R"(<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
    "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>)"
      << address() << R"(</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*" eavesdrop="true"/>
  </policy>
</busconfig>
)";
  const std::string option = "--config-file=" + config;
  const char* const arguments[] = {"dbus-daemon", option.c_str(), "--nofork", "--print-address=1",
                                   nullptr};
  gint out = -1;
  GErrorOut error;
  g_spawn_async_with_pipes(
      nullptr, const_cast<gchar**>(arguments), nullptr,
      static_cast<GSpawnFlags>(G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD), nullptr, nullptr,
      &pid_, nullptr, &out, nullptr, error.out());
  ASSERT_FALSE(error) << error.message();
  // The address is printed when it listens.
  char line[256];
  const auto length = read(out, line, sizeof line);
  close(out);
  ASSERT_GT(length, 0);
}

void PrivateBus::stop() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

Ref<GDBusConnection> connect_peer(const std::string& socket) {
  return connect_to("unix:path=" + socket, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT);
}

Ref<GDBusConnection> connect_bus(const std::string& address) {
  return connect_to(address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                 G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION);
}

std::string CallAnswer::text() const {
  return value ? take_string(g_variant_print(value.get(), FALSE)) : "";
}

CallAnswer call(const Ref<GDBusConnection>& connection, const std::string& path,
                const char* interface, const char* method, GVariant* arguments) {
  Waiting waiting;
  const bool bus = g_dbus_connection_get_unique_name(connection.get()) != nullptr;
  g_dbus_connection_call(
      connection.get(), bus ? bus_name : nullptr, path.c_str(), interface, method, arguments,
      nullptr, G_DBUS_CALL_FLAGS_NONE, call_timeout_ms, nullptr,
      [](GObject* source, GAsyncResult* result, gpointer data) {
        auto* state = static_cast<Waiting*>(data);
        state->value =
            adopt(g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, &state->error));
        state->done = true;
      },
      &waiting);
  CallAnswer answer;
  if (!iterate_until([&] { return waiting.done; })) {
    ADD_FAILURE() << method << " was never answered";
    std::abort();  // the callback would write to our stack
  }
  answer.value = waiting.value;
  if (waiting.error) {
    answer.error = take_string(g_dbus_error_get_remote_error(waiting.error));
    g_dbus_error_strip_remote_error(waiting.error);
    answer.message = waiting.error->message;
    g_clear_error(&waiting.error);
  }
  return answer;
}

ProgramResult run_program(const std::vector<std::string>& command) {
  std::vector<const gchar*> arguments;
  for (const std::string& word : command)
    arguments.push_back(word.c_str());
  arguments.push_back(nullptr);
  GErrorOut error;
  const auto process =
      adopt(g_subprocess_newv(arguments.data(),
                              static_cast<GSubprocessFlags>(G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                                            G_SUBPROCESS_FLAGS_STDERR_PIPE),
                              error.out()));
  ProgramResult result;
  if (!process) {
    result.err = error.message();
    return result;
  }
  struct State {
    bool done = false;
    ProgramResult& result;
  } state{false, result};
  g_subprocess_communicate_utf8_async(
      process.get(), nullptr, nullptr,
      [](GObject* source, GAsyncResult* finished, gpointer data) {
        auto* waiting = static_cast<State*>(data);
        gchar* out = nullptr;
        gchar* err = nullptr;
        g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), finished, &out, &err, nullptr);
        waiting->result.out = take_string(out);
        waiting->result.err = take_string(err);
        waiting->done = true;
      },
      &state);
  if (!iterate_until([&] { return state.done; })) {
    g_subprocess_force_exit(process.get());
    iterate_until([&] { return state.done; });
    ADD_FAILURE() << command.front() << " did not end";
  }
  if (g_subprocess_get_if_exited(process.get()))
    result.status = g_subprocess_get_exit_status(process.get());
  return result;
}

SignalLog::SignalLog(const Ref<GDBusConnection>& connection) : connection_(connection) {
  const bool bus = g_dbus_connection_get_unique_name(connection.get()) != nullptr;
  subscription_ = g_dbus_connection_signal_subscribe(
      connection.get(), bus ? bus_name : nullptr, nullptr, nullptr, nullptr, nullptr,
      G_DBUS_SIGNAL_FLAGS_NONE,
      [](GDBusConnection*, const gchar*, const gchar* path, const gchar*, const gchar* name,
         GVariant* arguments, gpointer data) {
        std::string about = path;
        if (g_variant_n_children(arguments) > 0) {
          const auto first = adopt(g_variant_get_child_value(arguments, 0));
          if (g_variant_is_of_type(first.get(), G_VARIANT_TYPE_OBJECT_PATH))
            about = g_variant_get_string(first.get(), nullptr);
        }
        static_cast<SignalLog*>(data)->entries.push_back({name, about, borrow(arguments)});
      },
      this, nullptr);
}

SignalLog::~SignalLog() {
  g_dbus_connection_signal_unsubscribe(connection_.get(), subscription_);
}

std::vector<std::string> SignalLog::lines() const {
  std::vector<std::string> list;
  for (const Entry& entry : entries)
    list.push_back(entry.name + ' ' + entry.path);
  return list;
}

}  // namespace vf
