// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a window shows and does: follows the daemons, makes rows of what they show, and asks them
// for what somebody wants done. Main thread; nothing here waits.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/follower.h"
#include "glib/source.h"
#include "glib/worker.h"
#include "panel/kept_place.h"
#include "panel/row_list.h"
#include "panel/window.h"

namespace vf::panel {

class Panel final : public Follower::Observer {
 public:
  using Where = std::function<Instance()>;

  // `window` outlives this. `domain`: show that one alone; empty: all.
  Panel(VfWindow* window, const std::vector<Where>& daemons, std::string domain);
  ~Panel() override;

  const std::string& domain() const { return filter_.domain; }
  // The row of that key; of an empty key, the selected one. Null where there is none (any more).
  const Row* row(const std::string& key) const;
  std::vector<const Row*> domains() const;
  // Several daemons show machines: which one is part of a machine's name.
  bool several() const;
  std::string source_name(std::size_t source) const;

  // Work is done with the daemon of `source` in a worker; `done` is not called when this is gone.
  template <typename Work, typename Done>
  void ask(std::size_t source, Work work, Done done) {
    const auto daemon = sources_[source]->follower->daemon();
    using Answer = std::invoke_result_t<Work, const Daemon&>;
    if (!daemon) return done(Answer(Unexpected(gone())));
    run_in_worker_for([daemon, work = std::move(work)] { return work(*daemon); },
                      [self = std::weak_ptr(self_), done = std::move(done)](Answer answer) {
                        if (!self.expired()) done(std::move(answer));
                      });
  }

  VfWindow* window() const { return window_; }
  void retry();
  void search();

 private:
  struct Source {
    std::unique_ptr<Follower> follower;
    Inventory inventory;
    bool read = false;  // the inventory is this connection's
    bool polling = false;
    bool libvirt_connected = true;
    bool relay_connected = true;
  };

  void state_changed(const Follower& follower) override;
  void changed(const Follower& follower, const Changes& changes) override;
  Source* source_of(const Follower& follower);
  static Error gone();
  void refresh();
  Place place() const;
  void show_page(bool found);
  std::string notice() const;
  void poll_counters();

  VfWindow* const window_;
  Filter filter_;
  std::vector<std::unique_ptr<Source>> sources_;
  RowList list_;
  KeptPlace kept_;
  ::vf::Source polls_;
  ::vf::Source refreshing_;
  std::shared_ptr<Panel*> self_;
};

}  // namespace vf::panel
