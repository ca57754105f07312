// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/panel.h"

#include <glib/gi18n.h>

#include <algorithm>
#include <chrono>

#include "panel/words.h"

namespace vf::panel {
namespace {

constexpr std::chrono::milliseconds poll_interval{2000};

// A window that nobody sees asks for nothing.
bool is_visible(VfWindow* window) {
  if (!gtk_widget_get_mapped(GTK_WIDGET(window))) return false;
  GdkSurface* surface = gtk_native_get_surface(GTK_NATIVE(window));
  return surface &&
         (gdk_toplevel_get_state(GDK_TOPLEVEL(surface)) & GDK_TOPLEVEL_STATE_MINIMIZED) == 0;
}

std::string format(const char* text, const std::string& argument) {
  return take_string(g_strdup_printf(text, argument.c_str()));
}

// Reasons of the client library go on where a sentence stands.
std::string sentence(const std::string& text) {
  if (text.empty()) return text;
  const char* rest = g_utf8_next_char(text.c_str());
  const std::string first(text.c_str(), rest);
  return take_string(g_utf8_strup(first.c_str(), -1)) + rest;
}

}  // namespace

Panel::Panel(VfWindow* window, const std::vector<Where>& daemons, std::string domain)
    : window_(window), filter_{std::move(domain), {}}, self_(std::make_shared<Panel*>(this)) {
  vf_window_set_model(window_, list_.model());
  vf_window_set_subtitle(window_, filter_.domain);
  for (const Where& where : daemons) {
    auto& source = sources_.emplace_back(std::make_unique<Source>());
    source->follower = std::make_unique<Follower>(where, *this);
  }
  polls_ = every(poll_interval, [this] { poll_counters(); });
  refresh();
}

Panel::~Panel() = default;

Error Panel::gone() {
  return {ErrorCode::no_daemon,
          _("The daemon went away. Its forwards go on; when it is back, try again.")};
}

Panel::Source* Panel::source_of(const Follower& follower) {
  for (const auto& source : sources_)
    if (source->follower.get() == &follower) return source.get();
  return nullptr;
}

void Panel::state_changed(const Follower& follower) {
  Source* source = source_of(follower);
  if (!source) return;
  source->read = false;
  source->libvirt_connected = source->relay_connected = true;
  if (follower.state() != FollowState::connected) source->inventory.clear();
  refresh();
}

void Panel::changed(const Follower& follower, const Changes& changes) {
  Source* source = source_of(follower);
  if (!source) return;
  const bool first = !source->read;
  source->read = true;
  source->inventory.apply(changes);
  // What comes together is shown together: each time all that there is is looked through.
  if (!refreshing_)
    refreshing_ = on_idle([this] {
      refreshing_.reset();
      refresh();
    });
  if (first) poll_counters();
}

void Panel::poll_counters() {
  if (!is_visible(window_)) return;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    Source* source = sources_[i].get();
    const auto daemon = source->follower->daemon();
    if (!daemon || source->polling) continue;
    source->polling = true;
    run_in_worker_for([daemon] { return poll(*daemon); },
                      [source, i, daemon, self = std::weak_ptr(self_)](Polled polled) {
                        const auto alive = self.lock();
                        if (!alive) return;
                        source->polling = false;
                        if (source->follower->daemon() != daemon) return;
                        if (source->inventory.count(std::move(polled.counters)))
                          (*alive)->list_.count(i, source->inventory.counters);
                        const bool news = source->libvirt_connected != polled.libvirt_connected ||
                                          source->relay_connected != polled.relay_connected;
                        source->libvirt_connected = polled.libvirt_connected;
                        source->relay_connected = polled.relay_connected;
                        if (news) (*alive)->refresh();
                      });
  }
}

void Panel::retry() {
  for (const auto& source : sources_)
    source->follower->retry();
}

void Panel::search() {
  filter_.search = vf_window_search_text(window_);
  refresh();
}

void Panel::refresh() {
  std::vector<const Inventory*> inventories;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    inventories.push_back(&sources_[i]->inventory);
    names.push_back(source_name(i));
  }
  if (!several()) names.clear();
  std::vector<Row> now = rows(inventories, filter_, names);
  std::vector<std::string_view> keys;
  for (const Row& one : now)
    keys.push_back(one.key);
  const auto goal = kept_.goal(place(), list_.keys(), keys, std::chrono::steady_clock::now());
  list_.update(std::move(now));
  if (goal && row({}) != row(goal->key))
    vf_window_select(window_, list_.position(goal->key), goal->focus);
  show_page(list_.size() > 0);
  vf_window_set_notice(window_, notice());
  kept_.settle(place());
}

Place Panel::place() const {
  const Row* const selected = row({});
  return {selected ? selected->key : std::string(), vf_window_list_focus(window_)};
}

void Panel::show_page(bool found) {
  if (found) return vf_window_show_page(window_, "list");
  const auto in = [this](FollowState state) -> const Source* {
    const auto one = std::ranges::find_if(
        sources_, [state](const auto& source) { return source->follower->state() == state; });
    return one == sources_.end() ? nullptr : one->get();
  };
  const bool waiting = std::ranges::any_of(sources_, [](const auto& source) {
    const FollowState state = source->follower->state();
    return state == FollowState::connecting || (state == FollowState::connected && !source->read);
  });
  if (in(FollowState::connected)) {
    if (waiting) return vf_window_show_page(window_, "loading");
    if (!filter_.search.empty()) return vf_window_show_page(window_, "nothing-found");
    return vf_window_show_page(
        window_, "empty",
        filter_.domain.empty()
            ? std::string(_("Start a virtual machine, for instance with virt-manager. Its forwards "
                            "appear here."))
            : format(_("Start “%s”, for instance with virt-manager. Its forwards appear here."),
                     filter_.domain));
  }
  if (waiting) return vf_window_show_page(window_, "loading");
  if (const Source* refused = in(FollowState::refused))
    return vf_window_show_page(
        window_, "refused",
        format(_("%s.\n\nMembers of the group libvirt may; an administrator adds you with\nsudo "
                 "adduser $USER libvirt\nand it is so after your next login."),
               sentence(refused->follower->reason())));
  if (const Source* failing = in(FollowState::failing))
    return vf_window_show_page(window_, "failing", sentence(failing->follower->reason()));
  std::vector<std::pair<std::string, std::string>> commands;
  for (const auto& source : sources_) {
    const Instance& instance = source->follower->instance();
    if (instance.start.empty())
      commands.emplace_back(instance.title, "virt-forwardd");
    else if (instance.uri == "qemu:///system")
      commands.emplace_back(_("Machines of the system"), "sudo " + instance.start);
    else
      commands.emplace_back(_("Your own machines (session)"), instance.start);
  }
  vf_window_set_commands(window_, commands);
  vf_window_show_page(window_, "absent");
}

// Of daemons that show nothing, or something old, while another one's machines are shown.
std::string Panel::notice() const {
  std::string notice;
  const auto say = [&notice](const std::string& text) {
    notice += (notice.empty() ? "" : "\n") + text;
  };
  for (const auto& source : sources_) {
    const Follower& follower = *source->follower;
    if (follower.state() == FollowState::refused || follower.state() == FollowState::failing)
      say(sentence(follower.reason()));
    else if (!source->libvirt_connected)
      say(format(_("%s has no connection to libvirt at present; what is shown may be old."),
                 sentence(follower.instance().title)));
    else if (!source->relay_connected)
      say(format(_("%s has no relay at present, so nothing is served; its journal says why."),
                 sentence(follower.instance().title)));
  }
  return list_.size() > 0 ? notice : std::string();
}

const Row* Panel::row(const std::string& key) const {
  if (!key.empty()) {
    VfRowItem* item = list_.find(key);
    return item ? &vf_row_item_row(item) : nullptr;
  }
  auto* selected = static_cast<VfRowItem*>(vf_window_selected(window_));
  return selected ? &vf_row_item_row(selected) : nullptr;
}

std::vector<const Row*> Panel::domains() const {
  std::vector<const Row*> domains;
  const guint count = g_list_model_get_n_items(list_.model());
  for (guint i = 0; i < count; ++i) {
    const auto item = adopt(VF_ROW_ITEM(g_list_model_get_item(list_.model(), i)));
    const Row& row = vf_row_item_row(item.get());
    if (std::holds_alternative<DomainRow>(row.content)) domains.push_back(&row);
  }
  return domains;
}

bool Panel::several() const {
  return std::ranges::count_if(
             sources_, [](const auto& source) { return !source->inventory.domains.empty(); }) > 1;
}

std::string Panel::source_name(std::size_t source) const {
  const Follower& follower = *sources_[source]->follower;
  if (follower.instance().uri == "qemu:///system") return _("System");
  if (follower.instance().uri == "qemu:///session") return _("Session");
  return follower.daemon() ? follower.daemon()->uri() : follower.instance().title;
}

}  // namespace vf::panel
