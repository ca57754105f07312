// SPDX-License-Identifier: LGPL-2.1-or-later

#include <cstdlib>

#include "contract.h"
#include "offload/nftables.h"

namespace vf::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Nftables, OffloadContract,
                         ::testing::Values(Backend{
                             "nftables", [] { return std::make_unique<NftablesOffload>(); },
                             [] { return std::system("nft flush ruleset") == 0; },
                             /*ends_connections=*/true}),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace vf::test
