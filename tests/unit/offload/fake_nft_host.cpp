// SPDX-License-Identifier: LGPL-2.1-or-later

#include "fake_nft_host.h"

#include <algorithm>

#include "offload/nft_ruleset.h"

namespace vf::test {
namespace {

class FakeBackend final : public NftBackend {
 public:
  explicit FakeBackend(FakeKernel& kernel) : kernel_(kernel) {}

  Result<void> run(const std::string& commands) override {
    if (kernel_.nft_error) return Unexpected(*kernel_.nft_error);
    if (std::exchange(kernel_.own_lost_once, false)) {
      kernel_.tables.own = false;
      return Unexpected(ErrorCode::failed, "nftables: No such file or directory");
    }
    kernel_.done.push_back("nft: " + commands);
    if (commands.find(nft_remove_guard_table()) != std::string::npos) kernel_.tables.guard.clear();
    if (commands.find(nft_make_guard_table()) != std::string::npos)
      kernel_.tables.guard = "guard " + std::to_string(++kernel_.guards_made);
    if (commands.find(nft_remove_own_table()) != std::string::npos) kernel_.tables.own = false;
    if (commands.find(nft_make_own_table()) != std::string::npos) kernel_.tables.own = true;
    return {};
  }
  Result<Standing> look() override {
    if (kernel_.look_error) return Unexpected(*kernel_.look_error);
    return kernel_.tables;
  }

 private:
  FakeKernel& kernel_;
};

class FakeLinks final : public LocalnetLinks {
 public:
  explicit FakeLinks(FakeKernel& kernel) : kernel_(kernel) {}

  Result<std::vector<Link>> all() override { return kernel_.links; }
  Result<Link> find(const std::string& name) override {
    if (const Link* link = kernel_.link(name)) return *link;
    return Unexpected(ErrorCode::failed, "link " + name + ": No such device");
  }
  Result<void> set(std::uint32_t index, std::uint32_t value) override {
    if (kernel_.set_error) return Unexpected(*kernel_.set_error);
    for (Link& link : kernel_.links) {
      if (link.index != index) continue;
      link.route_localnet = value;
      kernel_.done.push_back(link.name + ": " + std::to_string(value));
      return {};
    }
    return Unexpected(ErrorCode::failed, "No such device");
  }
  std::optional<std::uint32_t> towards(const IpAddress& address) override {
    const auto route = kernel_.routes.find(address.text());
    const Link* link = route != kernel_.routes.end() ? kernel_.link(route->second) : nullptr;
    return link ? std::optional(link->index) : std::nullopt;
  }

 private:
  FakeKernel& kernel_;
};

class FakeFlows final : public FlowTable {
 public:
  explicit FakeFlows(FakeKernel& kernel) : kernel_(kernel) {}

  Result<std::vector<TrackedFlow>> flows() override { return kernel_.flows; }
  Result<void> end(const TrackedFlow& flow) override {
    kernel_.done.push_back("end: " + flow.client.text());
    std::erase_if(kernel_.flows, [&](const TrackedFlow& known) { return known.id == flow.id; });
    return {};
  }

 private:
  FakeKernel& kernel_;
};

class FakeWatch final : public NftWatch {
 public:
  explicit FakeWatch(FakeKernel& kernel) : kernel_(kernel) {}
  Result<void> start(OnTables on_tables, OnLinks on_links) override {
    kernel_.on_tables = std::move(on_tables);
    kernel_.on_links = std::move(on_links);
    return {};
  }

 private:
  FakeKernel& kernel_;
};

}  // namespace

LocalnetLinks::Link* FakeKernel::link(const std::string& name) {
  for (auto& known : links)
    if (known.name == name) return &known;
  return nullptr;
}

NftHost FakeKernel::open() {
  NftHost host;
  host.nft = std::make_unique<FakeBackend>(*this);
  host.links = std::make_unique<FakeLinks>(*this);
  host.flows = std::make_unique<FakeFlows>(*this);
  host.watch = std::make_unique<FakeWatch>(*this);
  host.sweep = std::chrono::milliseconds(10);
  return host;
}

}  // namespace vf::test
