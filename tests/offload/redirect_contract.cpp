// SPDX-License-Identifier: LGPL-2.1-or-later

#include "contract.h"
#include "offload/redirect.h"
#include "redirect_links.h"

namespace vf::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Redirect, OffloadContract,
                         ::testing::Values(Backend{"redirect",
                                                   [] {
                                                     return std::make_unique<RedirectOffload>(
                                                         std::chrono::milliseconds(100));
                                                   },
                                                   [] { return detach_own_links() == 4; }}),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace vf::test
