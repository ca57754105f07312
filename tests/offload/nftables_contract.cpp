// SPDX-License-Identifier: LGPL-2.1-or-later

#include "contract.h"
#include "offload/nft_backend.h"
#include "offload/nftables.h"

namespace vf::test {
namespace {

// As `nft flush ruleset` does; a child process would interrupt what other threads wait for.
bool flush_ruleset() {
  const auto administrator = open_nft_backend();
  return administrator && (*administrator)->run("flush ruleset");
}

INSTANTIATE_TEST_SUITE_P(Nftables, OffloadContract,
                         ::testing::Values(Backend{
                             "nftables", [] { return std::make_unique<NftablesOffload>(); },
                             flush_ruleset, /*ends_connections=*/true}),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace vf::test
