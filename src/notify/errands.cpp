// SPDX-License-Identifier: LGPL-2.1-or-later

#include "notify/errands.h"

#include "glib/source.h"

namespace vf {
namespace {

constexpr int at_once = 4;

struct Errand {
  Errands::Work work;
  Errands::Done done;
  std::weak_ptr<bool> alive;
};

}  // namespace

Errands::Errands() : pool_(g_thread_pool_new(on_thread, nullptr, at_once, FALSE, nullptr)) {}

Errands::~Errands() {
  g_thread_pool_free(pool_, TRUE, FALSE);
}

void Errands::run(Work work, Done done) {
  g_thread_pool_push(pool_, new Errand{std::move(work), std::move(done), alive_}, nullptr);
}

void Errands::on_thread(gpointer data, gpointer) noexcept {
  const std::shared_ptr<Errand> errand(static_cast<Errand*>(data));
  Result<void> result = errand->work();
  post(nullptr, [errand, result = std::move(result)] {
    if (!errand->alive.expired()) errand->done(result);
  });
}

}  // namespace vf
