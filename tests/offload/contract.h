// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What every KernelOffload must do. For a backend:
//
//   INSTANTIATE_TEST_SUITE_P(Redirect, OffloadContract, ::testing::Values(Backend{...}));

#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "offload/offload.h"
#include "place.h"

namespace vf::test {

struct Backend {
  std::string name;
  std::function<std::unique_ptr<KernelOffload>()> make;
  // Takes away in the kernel what this process applied, as an administrator may.
  std::function<bool()> take_away;
  // What is established cannot stay when the offload is ended in good order: it ends visibly then.
  bool ends_connections = false;
};
inline void PrintTo(const Backend& backend, std::ostream* out) {
  *out << backend.name;
}

class OffloadContract : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override;

  void add(const Forward& forward);
  void remove(const Forward& forward);
  std::uint64_t connections(const Forward& forward);

  Place place;
  std::unique_ptr<KernelOffload> offload;
  std::vector<KernelOffload::Loss> losses;
};

}  // namespace vf::test
