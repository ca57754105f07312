// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Calls that wait, off the thread that must not: `work` runs in a thread of GLib's pool, `done`
// afterwards on the thread-default main context of the caller of run_in_worker().

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace vf {

// Both are called once. `work` uses nothing that the caller's thread changes meanwhile.
void run_in_worker(std::function<void()> work, std::function<void()> done);

// The same for work with a result.
template <typename Work, typename Done>
void run_in_worker_for(Work work, Done done) {
  using Value = std::invoke_result_t<Work>;
  auto result = std::make_shared<std::optional<Value>>();
  run_in_worker([work = std::move(work), result] { result->emplace(work()); },
                [done = std::move(done), result] { done(std::move(**result)); });
}

}  // namespace vf
