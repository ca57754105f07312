// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/follower.h"

#include <chrono>
#include <utility>

#include "client/watch.h"
#include "glib/object_path.h"
#include "glib/source.h"

namespace vf {
namespace {

constexpr std::chrono::milliseconds absent_interval{1000};
// One that does not answer has been waited for already, and each refusal is asked of a person.
constexpr std::chrono::milliseconds failing_interval{5000};

bool flag(const Properties& properties, const char* name) {
  const auto found = properties.find(name);
  return found == properties.end() ||
         !g_variant_is_of_type(found->second.get(), G_VARIANT_TYPE_BOOLEAN) ||
         g_variant_get_boolean(found->second.get()) != FALSE;
}

}  // namespace

// Everything in it but the constructor, stop() and retry() runs in the thread.
class Follower::Thread final : public Watch::Observer {
 public:
  Thread(std::function<Instance()> where, std::weak_ptr<Follower*> owner)
      : where_(std::move(where)),
        owner_(std::move(owner)),
        owner_context_(adopt(g_main_context_ref_thread_default())),
        context_(adopt(g_main_context_new())),
        loop_(adopt(g_main_loop_new(context_.get(), FALSE))),
        thread_([this] { run(); }) {}
  ~Thread() override {
    // Posted, since a loop that does not run yet cannot be stopped.
    post(context_.get(), [this] { g_main_loop_quit(loop_.get()); });
    thread_.join();
  }

  void retry() {
    post(context_.get(), [this] {
      if (!watch_) attempt();
    });
  }

 private:
  void run() {
    g_main_context_push_thread_default(context_.get());
    next_ = on_idle([this] { attempt(); });
    g_main_loop_run(loop_.get());
    next_.reset();
    flush_.reset();
    watch_.reset();
    daemon_.reset();
    while (g_main_context_iteration(context_.get(), FALSE)) {
    }
    g_main_context_pop_thread_default(context_.get());
  }

  void attempt() {
    next_.reset();
    const Instance instance = where_();
    if (instance.out_of_reach)
      return wait(FollowState::refused, instance,
                  instance.title +
                      " is for root alone here: no message bus answers, by which "
                      "others could ask it",
                  failing_interval);
    auto daemon = Daemon::connect(instance);
    if (!daemon) return failed(instance, daemon.error());
    daemon_ = std::make_shared<const Daemon>(std::move(*daemon));
    watch_ = std::make_unique<Watch>(*daemon_, *this);
    if (const auto started = watch_->start(); !started) {
      watch_.reset();
      daemon_.reset();
      return failed(instance, started.error());
    }
    tell_owner(FollowState::connected, instance, {}, daemon_);
    pending_ = {};
    pending_.whole = true;
    for (const auto& [path, domain] : watch_->domains())
      pending_.domains.emplace(path, domain);
    for (const auto& [path, forward] : watch_->forwards())
      pending_.forwards.emplace(path, forward);
    for (const auto& [path, port] : watch_->ports())
      pending_.ports.emplace(path, port);
    flush();
  }

  void failed(const Instance& instance, const Error& error) {
    if (error.code == ErrorCode::not_allowed)
      return wait(FollowState::refused, instance, error.message, failing_interval);
    if (error.message.empty()) return wait(FollowState::absent, instance, {}, absent_interval);
    wait(FollowState::failing, instance, error.message, failing_interval);
  }

  void wait(FollowState state, const Instance& instance, const std::string& reason,
            std::chrono::milliseconds interval) {
    tell_owner(state, instance, reason, nullptr);
    next_ = after(interval, [this] { attempt(); });
  }

  void domain_changed(const Daemon&, const std::string& path, const DomainView*,
                      const DomainView* view) override {
    note(pending_.domains, path, view);
  }
  void forward_changed(const Daemon&, const std::string& path, const ForwardView*,
                       const ForwardView* view) override {
    note(pending_.forwards, path, view);
  }
  void port_changed(const Daemon&, const std::string& path, const PortView*,
                    const PortView* view) override {
    note(pending_.ports, path, view);
  }
  // Not at once: the Watch is still calling.
  void daemon_lost(const Daemon&) override {
    next_ = on_idle([this] {
      flush_.reset();
      watch_.reset();
      daemon_.reset();
      attempt();
    });
  }

  // What changes in one turn is told at once, each thing as it is at the end of it.
  template <typename View>
  void note(std::map<std::string, std::optional<View>>& changed, const std::string& path,
            const View* view) {
    changed[path] = view ? std::optional<View>(*view) : std::nullopt;
    if (!flush_) flush_ = on_idle([this] { flush(); });
  }

  void flush() {
    flush_.reset();
    auto changes = std::make_shared<Changes>(std::exchange(pending_, {}));
    post(owner_context_.get(), [owner = owner_, changes] {
      if (const auto alive = owner.lock()) (*alive)->observer_.changed(**alive, *changes);
    });
  }

  void tell_owner(FollowState state, const Instance& instance, const std::string& reason,
                  const std::shared_ptr<const Daemon>& daemon) {
    post(owner_context_.get(), [owner = owner_, state, instance, reason, daemon] {
      if (const auto alive = owner.lock()) (*alive)->told(state, instance, reason, daemon);
    });
  }

  const std::function<Instance()> where_;
  const std::weak_ptr<Follower*> owner_;
  const Ref<GMainContext> owner_context_;
  const Ref<GMainContext> context_;
  const Ref<GMainLoop> loop_;
  std::shared_ptr<const Daemon> daemon_;
  std::unique_ptr<Watch> watch_;
  Changes pending_;
  Source next_;
  Source flush_;
  std::thread thread_;  // last: it uses all of the above
};

Follower::Follower(std::function<Instance()> where, Observer& observer)
    : observer_(observer),
      self_(std::make_shared<Follower*>(this)),
      thread_(std::make_unique<Thread>(std::move(where), self_)) {}

Follower::~Follower() {
  self_.reset();
}

void Follower::retry() {
  thread_->retry();
}

void Follower::told(FollowState state, Instance instance, std::string reason,
                    std::shared_ptr<const Daemon> daemon) {
  const bool same = state == state_ && reason == reason_ && daemon == daemon_;
  state_ = state;
  instance_ = std::move(instance);
  reason_ = std::move(reason);
  daemon_ = std::move(daemon);
  if (!same) observer_.state_changed(*this);
}

Polled poll(const Daemon& daemon) {
  Polled polled;
  polled.counters = daemon.counters();
  if (const auto manager = daemon.properties(root_path, manager_interface)) {
    polled.libvirt_connected = flag(*manager, "LibvirtConnected");
    polled.relay_connected = flag(*manager, "RelayConnected");
  }
  return polled;
}

}  // namespace vf
