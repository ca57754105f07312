// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/daemon.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "glib/object_path.h"

namespace vf {
namespace {

Error silent(const Instance& instance) {
  return {ErrorCode::no_daemon,
          instance.title +
              " does not answer; its journal may say why, and a restart of it keeps the "
              "forwards and their connections"};
}

// What GDBus says when nobody is there, as opposed to somebody who does not answer.
bool nobody_there(const GError* error) {
  return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
         g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_FILE_NOT_FOUND);
}

bool no_answer(const GError* error) {
  return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT) ||
         g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED) ||
         g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CLOSED) ||
         g_error_matches(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_TIMEOUT) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_TIMED_OUT) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_DISCONNECTED);
}

bool refused(const GError* error, std::string_view remote) {
  return g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED) ||
         g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_AUTH_FAILED) ||
         remote == "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" ||
         g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
}

Error daemon_error(const Instance& instance, const GError* error) {
  const std::string name = take_string(g_dbus_error_get_remote_error(error));
  GError* plain = g_error_copy(error);
  g_dbus_error_strip_remote_error(plain);
  const std::string message = plain->message;
  g_error_free(plain);
  if (name == std::string(bus_error_prefix) + "NoLibvirt") return {ErrorCode::no_daemon, message};
  if (name.starts_with(bus_error_prefix))
    return {error_code_from_name(std::string_view(name).substr(bus_error_prefix.size())), message};
  if (nobody_there(error)) return {ErrorCode::no_daemon, ""};
  if (no_answer(error)) return silent(instance);
  if (refused(error, name))
    return {ErrorCode::not_allowed, instance.title + " refuses this user: " + message};
  return {ErrorCode::failed, instance.title + ": " + message};
}

// Cancels after a time, unless it is destroyed before.
class Deadline {
 public:
  Deadline(GCancellable* cancellable, std::chrono::milliseconds time)
      : thread_([this, cancellable, time] {
          std::unique_lock lock(mutex_);
          if (!ended_.wait_for(lock, time, [this] { return over_; }))
            g_cancellable_cancel(cancellable);
        }) {}
  ~Deadline() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::thread thread_;
};

// A peer that accepts and says nothing would hold the call of GDBus for ever, and the connection
// must be made in the caller's main context, where it reports its end: so the clock is a thread.
Ref<GDBusConnection> connect_within(const DaemonAddress& address, std::chrono::seconds patience,
                                    GErrorOut& error) {
  const auto cancellable = adopt(g_cancellable_new());
  const Deadline deadline(cancellable.get(), patience);
  int flags = G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT;
  if (address.bus) flags |= G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION;
  return adopt(g_dbus_connection_new_for_address_sync(address.address.c_str(),
                                                      static_cast<GDBusConnectionFlags>(flags),
                                                      nullptr, cancellable.get(), error.out()));
}

GVariant* options_variant(const EditFlags& options) {
  GVariantBuilder builder;
  g_variant_builder_init(&builder, G_VARIANT_TYPE("a{sv}"));
  const auto put = [&](const char* name, bool value) {
    if (value) g_variant_builder_add(&builder, "{sv}", name, g_variant_new_boolean(TRUE));
  };
  put("live", options.live);
  put("config", options.config);
  put("persistent", options.persistent);
  put("drain", options.drain);
  put("dry-run", options.dry_run);
  return g_variant_builder_end(&builder);
}

std::optional<std::uint64_t> figure(GVariant* figures, const char* name) {
  guint64 value = 0;
  if (!g_variant_lookup(figures, name, "t", &value)) return std::nullopt;
  return value;
}

// Of an answer to GetCounters.
std::map<std::string, ForwardCounters> counters_in(GVariant* answer) {
  std::map<std::string, ForwardCounters> counters;
  GVariantIter* iterator = nullptr;
  g_variant_get(answer, "(a(oa{st}))", &iterator);
  const gchar* path = nullptr;
  GVariant* known = nullptr;
  while (g_variant_iter_next(iterator, "(&o@a{st})", &path, &known)) {
    const Ref<GVariant> owned = adopt(known);
    const auto number = [&](const char* name) { return figure(owned.get(), name); };
    counters[path] = {number("connections").value_or(0), number("bytes-in"), number("bytes-out"),
                      number("accepted"), number("failures")};
  }
  g_variant_iter_free(iterator);
  return counters;
}

GVariant* attributes_variant(const std::vector<std::pair<std::string, std::string>>& attributes) {
  GVariantBuilder builder;
  g_variant_builder_init(&builder, G_VARIANT_TYPE("a{ss}"));
  for (const auto& [name, value] : attributes)
    g_variant_builder_add(&builder, "{ss}", name.c_str(), value.c_str());
  return g_variant_builder_end(&builder);
}

// Of an a(oqq).
std::vector<AddedForward> forwards_in(GVariant* list) {
  std::vector<AddedForward> added;
  GVariantIter iterator;
  g_variant_iter_init(&iterator, list);
  const gchar* path = nullptr;
  guint16 host_port = 0;
  guint16 requested_port = 0;
  while (g_variant_iter_next(&iterator, "(&oqq)", &path, &host_port, &requested_port))
    added.push_back({path, Port::from(host_port), Port::from(requested_port)});
  return added;
}

// Of AddForward and ChangeForward.
std::vector<AddedForward> forwards_of(GVariant* reply) {
  return forwards_in(adopt(g_variant_get_child_value(reply, 0)).get());
}

}  // namespace

Daemon::Daemon(Instance instance, Ref<GDBusConnection> connection, bool bus)
    : instance_(std::move(instance)), connection_(std::move(connection)), bus_(bus) {}

Result<Daemon> Daemon::connect(const Instance& instance) {
  Error last{ErrorCode::no_daemon, ""};
  for (const DaemonAddress& address : instance.addresses) {
    GErrorOut error;
    const auto connection = connect_within(address, instance.patience, error);
    if (!connection) {
      if (!nobody_there(error.get())) last = daemon_error(instance, error.get());
      continue;
    }
    Daemon daemon(instance, connection, address.bus);
    const auto greeted = daemon.greet();
    if (greeted) return daemon;
    if (!greeted.error().message.empty()) last = greeted.error();
  }
  return Unexpected(last);
}

Result<void> Daemon::greet() {
  const auto manager = properties(root_path, manager_interface);
  if (!manager) return Unexpected(manager.error());
  const auto flag = [&](const char* name) {
    const auto found = manager->find(name);
    return found != manager->end() &&
           g_variant_is_of_type(found->second.get(), G_VARIANT_TYPE_BOOLEAN) &&
           g_variant_get_boolean(found->second.get());
  };
  const auto word = [&](const char* name) -> std::string {
    const auto found = manager->find(name);
    if (found == manager->end() ||
        !g_variant_is_of_type(found->second.get(), G_VARIANT_TYPE_STRING))
      return {};
    return g_variant_get_string(found->second.get(), nullptr);
  };
  uri_ = word("ConnectionUri");
  version_ = word("Version");
  const auto heard = manager->find("HookHeard");
  if (heard != manager->end() && g_variant_is_of_type(heard->second.get(), G_VARIANT_TYPE_INT64))
    hook_heard_ = g_variant_get_int64(heard->second.get());
  libvirt_reason_ = word("LibvirtReason");
  libvirt_connected_ = flag("LibvirtConnected");
  relay_connected_ = flag("RelayConnected");
  return {};
}

Result<bool> Daemon::wait_until_settled() {
  if (libvirt_connected_ && relay_connected_) return true;
  const auto known = inventory();
  if (!known) return Unexpected(known.error());
  if (const auto greeted = greet(); !greeted) return Unexpected(greeted.error());
  return libvirt_connected_ || !known->domains.empty();
}

std::chrono::milliseconds Daemon::libvirt_timeout() const {
  return libvirt_connected_ && relay_connected_ ? reading_timeout : starting_timeout;
}

Result<Ref<GVariant>> Daemon::call(const std::string& path, const char* interface,
                                   const char* method, GVariant* parameters, const char* reply_type,
                                   std::chrono::milliseconds timeout) const {
  // No bus is to start a daemon: the user's is woken by its socket (session_daemon.h), and whether
  // the system's runs is root's decision.
  const int flags =
      G_DBUS_CALL_FLAGS_NO_AUTO_START |
      (timeout == editing_timeout ? G_DBUS_CALL_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION : 0);
  GErrorOut error;
  auto reply = adopt(g_dbus_connection_call_sync(
      connection_.get(), peer_name(), path.c_str(), interface, method, parameters,
      G_VARIANT_TYPE(reply_type), static_cast<GDBusCallFlags>(flags),
      static_cast<gint>(timeout.count()), nullptr, error.out()));
  if (!reply) return Unexpected(daemon_error(instance_, error.get()));
  return reply;
}

Result<std::string> Daemon::find_domain(const std::string& domain) const {
  if (!g_utf8_validate(domain.data(), static_cast<gssize>(domain.size()), nullptr))
    return Unexpected(ErrorCode::no_such_domain, "the name of a domain is UTF-8, and this is not");
  auto reply = call(root_path, manager_interface, "FindDomain",
                    g_variant_new("(s)", domain.c_str()), "(o)", libvirt_timeout());
  if (!reply) return Unexpected(reply.error());
  const gchar* path = nullptr;
  g_variant_get(reply->get(), "(&o)", &path);
  return std::string(path);
}

Result<Objects> Daemon::inventory() const {
  auto reply = call(root_path, object_manager_interface, "GetManagedObjects", nullptr,
                    "(a{oa{sa{sv}}})", libvirt_timeout());
  if (!reply) return Unexpected(reply.error());
  Objects inventory;
  const auto objects = adopt(g_variant_get_child_value(reply->get(), 0));
  GVariantIter iterator;
  g_variant_iter_init(&iterator, objects.get());
  const gchar* path = nullptr;
  GVariant* interfaces = nullptr;
  while (g_variant_iter_next(&iterator, "{&o@a{sa{sv}}}", &path, &interfaces)) {
    const auto owned = adopt(interfaces);
    const auto take = [&](const char* interface, std::map<std::string, Properties>& objects_of) {
      const auto values =
          adopt(g_variant_lookup_value(interfaces, interface, G_VARIANT_TYPE("a{sv}")));
      if (values) merge(objects_of[path], values.get());
    };
    take(domain_interface, inventory.domains);
    take(forward_interface, inventory.forwards);
    take(port_interface, inventory.ports);
  }
  return inventory;
}

Result<Properties> Daemon::properties(const std::string& path, const char* interface) const {
  auto reply = call(path, properties_interface, "GetAll", g_variant_new("(s)", interface),
                    "(a{sv})", reading_timeout);
  if (!reply) return Unexpected(reply.error());
  Properties properties;
  merge(properties, adopt(g_variant_get_child_value(reply->get(), 0)).get());
  return properties;
}

Result<std::vector<AddedForward>> Daemon::add_forward(
    const std::string& domain_path,
    const std::vector<std::pair<std::string, std::string>>& attributes,
    const EditFlags& options) const {
  auto reply = call(
      domain_path, domain_interface, "AddForward",
      g_variant_new("(@a{ss}@a{sv})", attributes_variant(attributes), options_variant(options)),
      "(a(oqq))", editing_timeout);
  if (!reply) return Unexpected(reply.error());
  return forwards_of(reply->get());
}

Result<std::vector<std::vector<AddedForward>>> Daemon::add_forwards(
    const std::string& domain_path,
    const std::vector<std::vector<std::pair<std::string, std::string>>>& forwards,
    const EditFlags& options) const {
  GVariantBuilder list;
  g_variant_builder_init(&list, G_VARIANT_TYPE("aa{ss}"));
  for (const auto& attributes : forwards)
    g_variant_builder_add_value(&list, attributes_variant(attributes));
  auto reply = call(domain_path, domain_interface, "AddForwards",
                    g_variant_new("(aa{ss}@a{sv})", &list, options_variant(options)), "(aa(oqq))",
                    editing_timeout);
  if (!reply) return Unexpected(reply.error());
  const auto each = adopt(g_variant_get_child_value(reply->get(), 0));
  std::vector<std::vector<AddedForward>> added;
  for (gsize entry = 0; entry < g_variant_n_children(each.get()); ++entry)
    added.push_back(forwards_in(adopt(g_variant_get_child_value(each.get(), entry)).get()));
  return added;
}

Result<std::vector<AddedForward>> Daemon::change_forward(
    const std::string& domain_path, const std::string& forward,
    const std::vector<std::pair<std::string, std::string>>& attributes,
    const EditFlags& options) const {
  auto reply = call(domain_path, domain_interface, "ChangeForward",
                    g_variant_new("(s@a{ss}@a{sv})", forward.c_str(),
                                  attributes_variant(attributes), options_variant(options)),
                    "(a(oqq))", editing_timeout);
  if (!reply) return Unexpected(reply.error());
  return forwards_of(reply->get());
}

Result<void> Daemon::remove_forward(const std::string& domain_path, const std::string& forward,
                                    const EditFlags& options) const {
  auto reply = call(domain_path, domain_interface, "RemoveForward",
                    g_variant_new("(s@a{sv})", forward.c_str(), options_variant(options)), "()",
                    editing_timeout);
  if (!reply) return Unexpected(reply.error());
  return {};
}

Result<std::string> Daemon::metadata(const std::string& domain_path,
                                     const EditFlags& options) const {
  auto reply = call(domain_path, domain_interface, "GetMetadata",
                    g_variant_new("(@a{sv})", options_variant(options)), "(s)", reading_timeout);
  if (!reply) return Unexpected(reply.error());
  const gchar* element = nullptr;
  g_variant_get(reply->get(), "(&s)", &element);
  return std::string(element);
}

Result<void> Daemon::edit_ports(const char* method, const std::string& domain_path,
                                Protocol protocol, PortRange ports, const std::string& process,
                                const EditFlags& options) const {
  GVariantDict dictionary;
  const auto flags = borrow(options_variant(options));
  g_variant_dict_init(&dictionary, flags.get());
  if (!process.empty()) g_variant_dict_insert(&dictionary, "process", "s", process.c_str());
  auto reply = call(domain_path, domain_interface, method,
                    g_variant_new("(ss@a{sv})", std::string(text(protocol)).c_str(),
                                  ports.text().c_str(), g_variant_dict_end(&dictionary)),
                    "()", editing_timeout);
  if (!reply) return Unexpected(reply.error());
  return {};
}

Result<void> Daemon::block(const std::string& domain_path, Protocol protocol, PortRange ports,
                           const EditFlags& options) const {
  return edit_ports("Block", domain_path, protocol, ports, {}, options);
}

Result<void> Daemon::unblock(const std::string& domain_path, Protocol protocol, PortRange ports,
                             const EditFlags& options) const {
  return edit_ports("Unblock", domain_path, protocol, ports, {}, options);
}

Result<void> Daemon::allow(const std::string& domain_path, Protocol protocol, PortRange ports,
                           const std::string& process, const EditFlags& options) const {
  return edit_ports("Allow", domain_path, protocol, ports, process, options);
}

Result<void> Daemon::disallow(const std::string& domain_path, Protocol protocol, PortRange ports,
                              const std::string& process, const EditFlags& options) const {
  return edit_ports("Disallow", domain_path, protocol, ports, process, options);
}

Result<void> Daemon::set_automatic(const std::string& domain_path, AutoMode mode,
                                   const EditFlags& options) const {
  auto reply =
      call(domain_path, domain_interface, "SetAutomatic",
           g_variant_new("(s@a{sv})", std::string(text(mode)).c_str(), options_variant(options)),
           "()", editing_timeout);
  if (!reply) return Unexpected(reply.error());
  return {};
}

std::map<std::string, ForwardCounters> Daemon::counters() const {
  auto reply =
      call(root_path, manager_interface, "GetCounters", nullptr, "(a(oa{st}))", reading_timeout);
  return reply ? counters_in(reply->get()) : std::map<std::string, ForwardCounters>();
}

void Daemon::ask_counters(GCancellable* cancellable, CountersDone done) const {
  const auto answered = [](GObject* source, GAsyncResult* result, gpointer data) noexcept {
    const std::unique_ptr<CountersDone> waiting(static_cast<CountersDone*>(data));
    const auto reply =
        adopt(g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, nullptr));
    (*waiting)(reply ? std::optional(counters_in(reply.get())) : std::nullopt);
  };
  g_dbus_connection_call(connection_.get(), peer_name(), root_path, manager_interface,
                         "GetCounters", nullptr, G_VARIANT_TYPE("(a(oa{st}))"),
                         G_DBUS_CALL_FLAGS_NO_AUTO_START,
                         static_cast<gint>(reading_timeout.count()), cancellable, answered,
                         new CountersDone(std::move(done)));
}

Result<DaemonStatistics> Daemon::statistics() const {
  auto reply = call(root_path, manager_interface, "GetStatistics", nullptr, "(a{st}a(stta(tt)))",
                    reading_timeout);
  if (!reply) return Unexpected(reply.error());
  GVariant* told = nullptr;
  GVariantIter* lanes = nullptr;
  g_variant_get(reply->get(), "(@a{st}a(stta(tt)))", &told, &lanes);
  const Ref<GVariant> figures = adopt(told);
  DaemonStatistics statistics{figure(told, "connections-refused"),
                              figure(told, "datagrams-lost"),
                              figure(told, "guest-reports-slowed"),
                              figure(told, "guest-ports-left-out"),
                              {}};
  const gchar* name = nullptr;
  guint64 rounds = 0;
  guint64 microseconds = 0;
  GVariantIter* within = nullptr;
  while (g_variant_iter_next(lanes, "(&stta(tt))", &name, &rounds, &microseconds, &within)) {
    statistics.lanes.push_back({name, rounds, microseconds, {}});
    LaneStatistics& lane = statistics.lanes.back();
    guint64 bound = 0;
    guint64 count = 0;
    while (g_variant_iter_next(within, "(tt)", &bound, &count))
      lane.within.emplace_back(bound, count);
    g_variant_iter_free(within);
  }
  g_variant_iter_free(lanes);
  return statistics;
}

}  // namespace vf
