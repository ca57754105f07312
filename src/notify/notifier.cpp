// SPDX-License-Identifier: LGPL-2.1-or-later

#include "notify/notifier.h"

#include <csignal>

#include "base/printable.h"
#include "desktop/clipboard.h"
#include "notify/notice_text.h"

namespace vf {
namespace {

constexpr char panel_program[] = "virt-forward-panel";
constexpr std::size_t error_bytes = 512;

bool has_scheme(const std::string& url) {
  return url.find("://") != std::string::npos;
}

std::string port_word(const News& news) {
  return std::string(text(news.protocol)) + ':' + std::to_string(news.port.number());
}

// A parameter is part of the action's name to a notification server, and not every one can take
// apart what a guest or an administrator may have called something.
std::string escaped(const std::string& name) {
  return take_string(g_uri_escape_string(name.c_str(), nullptr, FALSE));
}

std::string unescaped(const char* name) {
  return take_string(g_uri_unescape_string(name, nullptr));
}

// Of block and allow: daemon, domain's object and name, ports, process (empty: the ports alone).
constexpr char edit_type[] = "(sssss)";

GVariant* edit_parameter(const Notice& notice, const std::string& process) {
  const News& first = notice.news.front();
  std::string ports;
  for (const News& news : notice.news)
    ports += (ports.empty() ? "" : ",") + port_word(news);
  return g_variant_new(edit_type, escaped(first.daemon).c_str(), first.domain_path.c_str(),
                       escaped(first.domain).c_str(), ports.c_str(), escaped(process).c_str());
}

struct EditParameter {
  std::string daemon;
  std::string path;
  std::string domain;
  std::vector<std::pair<Protocol, PortRange>> ports;
  std::string process;
};

// Nothing for one that is none of ours.
std::optional<EditParameter> read_edit_parameter(GVariant* parameter) {
  const gchar *daemon, *path, *domain, *ports, *process;
  g_variant_get(parameter, "(&s&s&s&s&s)", &daemon, &path, &domain, &ports, &process);
  EditParameter read{
      unescaped(daemon), path, notification_text(unescaped(domain), 64), {}, unescaped(process)};
  gchar** words = g_strsplit(ports, ",", -1);
  for (gchar** word = words; *word; ++word) {
    const std::string_view text = *word;
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) continue;
    const auto protocol = parse<Protocol>(text.substr(0, colon));
    const auto port = PortRange::parse(text.substr(colon + 1));
    if (protocol && port) read.ports.emplace_back(*protocol, *port);
  }
  g_strfreev(words);
  if (read.ports.empty() || !g_variant_is_object_path(path)) return std::nullopt;
  return read;
}

bool has_panel() {
  return !take_string(g_find_program_in_path(panel_program)).empty();
}

void add_panel(GNotification* notification, const std::string& domain) {
  if (!has_panel()) return;
  g_notification_add_button_with_target(notification, "Show", "app.panel", "s", domain.c_str());
}

bool one_process(const Notice& notice) {
  for (const News& news : notice.news)
    if (news.process != notice.news.front().process) return false;
  return true;
}

void add_answers(GNotification* notification, const Notice& notice) {
  g_notification_set_priority(notification, G_NOTIFICATION_PRIORITY_HIGH);
  const News& first = notice.news.front();
  // Who asks for too much is answered port by port.
  if (!one_process(notice)) return add_panel(notification, first.domain);
  g_notification_add_button_with_target_value(notification, "Allow", "app.allow",
                                              edit_parameter(notice, ""));
  if (!first.process.empty())
    g_notification_add_button_with_target_value(notification, "Always allow for this process",
                                                "app.allow", edit_parameter(notice, first.process));
  g_notification_add_button_with_target_value(notification, "Block", "app.block",
                                              edit_parameter(notice, ""));
}

void add_shortcuts(GNotification* notification, const News& news) {
  if (has_scheme(news.url)) {
    g_notification_set_default_action_and_target(notification, "app.open", "s", news.url.c_str());
    g_notification_add_button_with_target(notification, "Open", "app.open", "s", news.url.c_str());
  }
  g_notification_add_button_with_target(notification, "Copy URL", "app.copy", "s",
                                        news.url.c_str());
  g_notification_add_button_with_target_value(notification, "Block", "app.block",
                                              edit_parameter({"", {news}}, ""));
}

}  // namespace

Notifier::Notifier(std::vector<Watched> watched)
    : watched_(std::move(watched)),
      application_(
          adopt(g_application_new(notifier_application_id, static_cast<GApplicationFlags>(0)))) {
  g_signal_connect(application_.get(), "startup", G_CALLBACK(on_startup), this);
  g_signal_connect(application_.get(), "activate", G_CALLBACK(on_activate), this);
  add_action("open", "s", &Notifier::open);
  add_action("copy", "s", &Notifier::copy);
  add_action("block", edit_type, &Notifier::block);
  add_action("allow", edit_type, &Notifier::allow);
  add_action("panel", "s", &Notifier::show_panel);
}

Notifier::~Notifier() {
  g_signal_handlers_disconnect_by_data(application_.get(), this);
}

int Notifier::run(const char* program) {
  GErrorOut error;
  if (!g_application_register(application_.get(), nullptr, error.out()) ||
      !g_application_get_dbus_connection(application_.get())) {
    g_printerr("virt-forward-notify: there is no session bus to show notifications by%s%s\n",
               error ? ": " : "", error.message().c_str());
    return 1;
  }
  if (g_application_get_is_remote(application_.get())) return 0;
  interrupted_ = on_signal(SIGINT, [this] { end(); });
  terminated_ = on_signal(SIGTERM, [this] { end(); });
  char* arguments[] = {const_cast<char*>(program), nullptr};
  return g_application_run(application_.get(), 1, arguments);
}

void Notifier::on_startup(GApplication* application, gpointer data) noexcept {
  auto* self = static_cast<Notifier*>(data);
  g_application_hold(application);
  self->held_ = true;
  DaemonLink::Listener& listener = *self;
  for (const Watched& watched : self->watched_)
    self->links_.push_back(std::make_unique<DaemonLink>(watched.find, watched.bus, listener));
}

void Notifier::end() {
  timer_.reset();
  for (const std::string& id : announcer_.shown())
    g_application_withdraw_notification(application_.get(), id.c_str());
  g_dbus_connection_flush_sync(g_application_get_dbus_connection(application_.get()), nullptr,
                               nullptr);
  links_.clear();
  if (std::exchange(held_, false)) g_application_release(application_.get());
  g_application_quit(application_.get());
}

void Notifier::port_seen(const News& news) {
  const auto now = g_get_monotonic_time();
  if (news.kind == News::Kind::forwarded && news.open && has_scheme(news.url) &&
      announcer_.may_open(news, now))
    open(borrow(g_variant_new_string(news.url.c_str())).get());
  announcer_.seen(news, now);
  schedule();
}

void Notifier::port_gone(const std::string& key) {
  for (const std::string& id : announcer_.gone(key))
    g_application_withdraw_notification(application_.get(), id.c_str());
  schedule();
}

void Notifier::schedule() {
  const auto next = announcer_.next();
  timer_.reset();
  if (!next) return;
  const auto wait = std::max<gint64>(0, *next - g_get_monotonic_time()) / 1000 + 1;
  timer_ = after(std::chrono::milliseconds(wait), [this] { show_due(); });
}

void Notifier::show_due() {
  for (const Notice& notice : announcer_.due(g_get_monotonic_time()))
    show(notice);
  schedule();
}

void Notifier::show(const Notice& notice) {
  const NoticeText words = text_of(notice);
  const News& first = notice.news.front();
  const auto notification = adopt(g_notification_new(words.title.c_str()));
  g_notification_set_body(notification.get(), words.body.c_str());
  if (first.kind == News::Kind::asking)
    add_answers(notification.get(), notice);
  else if (notice.news.size() == 1)
    add_shortcuts(notification.get(), first);
  else
    add_panel(notification.get(), first.domain);
  g_application_send_notification(application_.get(), notice.id.c_str(), notification.get());
}

void Notifier::tell_failure(const std::string& what, const Error& error) {
  g_printerr("virt-forward-notify: %s: %s\n", what.c_str(), printable(error.message).c_str());
  const auto notification = adopt(g_notification_new(what.c_str()));
  g_notification_set_body(notification.get(),
                          notification_text(error.message, error_bytes).c_str());
  g_application_send_notification(application_.get(), "failure", notification.get());
}

void Notifier::add_action(const char* name, const char* parameter_type, Action action) {
  struct Bound {
    Notifier* notifier;
    Action action;
    static void activated(GSimpleAction*, GVariant* parameter, gpointer data) noexcept {
      auto* bound = static_cast<Bound*>(data);
      (bound->notifier->*bound->action)(parameter);
    }
    static void destroy(gpointer data, GClosure*) noexcept { delete static_cast<Bound*>(data); }
  };
  const auto simple = adopt(g_simple_action_new(name, G_VARIANT_TYPE(parameter_type)));
  g_signal_connect_data(simple.get(), "activate", G_CALLBACK(Bound::activated),
                        new Bound{this, action}, Bound::destroy, static_cast<GConnectFlags>(0));
  g_action_map_add_action(G_ACTION_MAP(application_.get()), G_ACTION(simple.get()));
}

void Notifier::open(GVariant* url) {
  const std::string text = g_variant_get_string(url, nullptr);
  GErrorOut error;
  if (!g_app_info_launch_default_for_uri(text.c_str(), nullptr, error.out()))
    tell_failure("Cannot open " + notification_text(text, 128),
                 {ErrorCode::failed, error.message()});
}

void Notifier::copy(GVariant* parameter) {
  const std::string text = g_variant_get_string(parameter, nullptr);
  errands_.run([text] { return copy_to_desktop(text); },
               [this, text](const Result<void>& copied) {
                 if (!copied)
                   tell_failure("Cannot copy " + notification_text(text, 128), copied.error());
               });
}

void Notifier::edit(const std::string& daemon, const std::string& what, Edit change) {
  for (const auto& link : links_) {
    if (link->name() != daemon) continue;
    errands_.run(
        [instance = link->find(), change = std::move(change)]() -> Result<void> {
          const auto connected = Daemon::connect(instance);
          if (!connected && connected.error().message.empty())
            return Unexpected(ErrorCode::no_daemon, instance.title + " does not run");
          if (!connected) return Unexpected(connected.error());
          return change(*connected);
        },
        [this, what](const Result<void>& done) {
          if (!done) tell_failure(what, done.error());
        });
    return;
  }
  tell_failure(what, {ErrorCode::no_daemon, notification_text(daemon, 128) + " is not watched"});
}

void Notifier::block(GVariant* parameter) {
  const auto read = read_edit_parameter(parameter);
  if (!read) return;
  edit(read->daemon,
       "Cannot block port " + read->ports.front().second.text() + " of " + read->domain,
       [read](const Daemon& connected) -> Result<void> {
         for (const auto& [protocol, port] : read->ports)
           if (auto done = connected.block(read->path, protocol, port, {}); !done) return done;
         return {};
       });
}

void Notifier::allow(GVariant* parameter) {
  const auto read = read_edit_parameter(parameter);
  if (!read) return;
  edit(read->daemon,
       "Cannot allow port " + read->ports.front().second.text() + " of " + read->domain,
       [read](const Daemon& connected) {
         Result<void> done;
         for (const auto& [protocol, port] : read->ports) {
           done = connected.allow(read->path, protocol, port, read->process, {});
           // One rule is for all that a process has open; a port may have gone meanwhile.
           const bool gone = !done && done.error().code == ErrorCode::no_such_forward;
           if (read->process.empty() ? !done : !gone) break;
         }
         return done;
       });
}

void Notifier::show_panel(GVariant* parameter) {
  const gchar* domain = g_variant_get_string(parameter, nullptr);
  const gchar* command[] = {panel_program, "--domain", domain, nullptr};
  GErrorOut error;
  const auto process = adopt(g_subprocess_newv(command, G_SUBPROCESS_FLAGS_NONE, error.out()));
  if (!process) tell_failure("Cannot open the panel", {ErrorCode::failed, error.message()});
}

}  // namespace vf
