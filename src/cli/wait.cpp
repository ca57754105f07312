// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/wait.h"

#include <algorithm>
#include <set>

#include "cli/output.h"
#include "client/watch.h"
#include "glib/source.h"

namespace vf {
namespace {

// The error that a state is, if waiting longer is of no use.
std::optional<ErrorCode> final_error(ForwardState state) {
  switch (state) {
    case ForwardState::port_busy:
      return ErrorCode::port_busy;
    case ForwardState::denied:
      return ErrorCode::not_allowed;
    case ForwardState::inactive:
      return ErrorCode::domain_not_running;
    case ForwardState::failed:
    case ForwardState::disabled:
      return ErrorCode::failed;
    case ForwardState::active:
    case ForwardState::waiting:
    case ForwardState::no_listener:
      break;
  }
  return std::nullopt;
}

class Waiting final : public Watch::Observer {
 public:
  Waiting(const Daemon& daemon, const std::vector<AddedForward>& forwards)
      : loop_(adopt(g_main_loop_new(nullptr, FALSE))), watch_(daemon, *this) {
    for (const AddedForward& forward : forwards)
      forwards_.push_back(forward.path);
    missing_ = forwards_;
  }

  int run(std::chrono::seconds timeout) {
    if (const auto started = watch_.start(); !started) return fail(started.error());
    for (const std::string& path : forwards_) {
      const auto found = watch_.forwards().find(path);
      look_at(path, found == watch_.forwards().end() ? nullptr : &found->second);
    }
    Source timer;
    if (timeout.count() > 0) timer = after(timeout, [this, timeout] { give_up(timeout); });
    if (!over_) g_main_loop_run(loop_.get());
    if (status_ == 0) say_why_silent();
    return status_;
  }

 private:
  // Served, and nobody answers all the same: once, however many forwards it is about.
  void say_why_silent() const {
    std::set<std::string> reasons;
    for (const std::string& path : forwards_)
      if (const auto found = watch_.forwards().find(path); found != watch_.forwards().end())
        reasons.insert(found->second.reason);
    for (const std::string& reason : reasons)
      say(reason);
  }

  void forward_changed(const Daemon&, const std::string& path, const ForwardView*,
                       const ForwardView* after) override {
    look_at(path, after);
  }
  void port_changed(const Daemon&, const std::string&, const PortView*, const PortView*) override {}
  void domain_changed(const Daemon&, const std::string&, const DomainView*,
                      const DomainView*) override {}
  void daemon_lost(const Daemon& daemon) override {
    end(fail({ErrorCode::no_daemon, daemon.instance().title + " went away while waiting"}));
  }

  void look_at(const std::string& path, const ForwardView* forward) {
    const auto awaited = std::find(missing_.begin(), missing_.end(), path);
    if (over_ || awaited == missing_.end()) return;
    if (!forward) {
      end(fail({ErrorCode::failed, "the forward was removed while waiting"}));
    } else if (const auto error = final_error(forward->state)) {
      end(fail({*error, quote(forward->id) + " is " + std::string(text(forward->state)) + ": " +
                            forward->reason}));
    } else if (forward->state == ForwardState::active) {
      missing_.erase(awaited);
      if (missing_.empty()) end(0);
    }
  }

  void give_up(std::chrono::seconds timeout) {
    const auto found = watch_.forwards().find(missing_.front());
    std::string message = "not reachable after " + std::to_string(timeout.count()) + " s";
    if (found != watch_.forwards().end() && !found->second.reason.empty())
      message += ": " + found->second.reason;
    end(fail({ErrorCode::failed, message + "; the forward stays, and serves as soon as it can"}));
  }

  void end(int status) {
    if (over_) return;
    over_ = true;
    status_ = status;
    g_main_loop_quit(loop_.get());
  }

  Ref<GMainLoop> loop_;
  Watch watch_;
  std::vector<std::string> forwards_;
  std::vector<std::string> missing_;
  bool over_ = false;
  int status_ = 0;
};

}  // namespace

int wait_until_reachable(const Daemon& daemon, const std::vector<AddedForward>& forwards,
                         std::chrono::seconds timeout) {
  if (forwards.empty()) return 0;
  return Waiting(daemon, forwards).run(timeout);
}

}  // namespace vf
