// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the nftables offload costs: 10,000 elements in one step, one beside them, and how long a
// flushed ruleset is away. Exit status 1 when a promise is not kept.

#include <glib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "offload/nftables.h"
#include "private_network.h"

namespace {

using namespace vf;
using Clock = std::chrono::steady_clock;

constexpr unsigned elements = 10000;

OffloadEntry entry(unsigned number) {
  return {"domain/" + std::to_string(number),
          Protocol::tcp,
          {IpAddress::loopback4(), *Port::from(20000 + number)},
          {*IpAddress::parse("10.9.0.2"), *Port::from(1 + number % 1000)},
          "vbr0"};
}

double milliseconds(const std::function<bool()>& work) {
  const auto begin = Clock::now();
  if (!work()) {
    std::fprintf(stderr, "failed\n");
    std::exit(1);
  }
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

bool report(const char* what, std::vector<double> figures, double promised) {
  std::sort(figures.begin(), figures.end());
  const double median = figures[figures.size() / 2];
  const bool kept = median <= promised;
  std::printf("%-44s median %8.2f ms, worst %8.2f ms of %4zu; promised %6.0f ms%s\n", what, median,
              figures.back(), figures.size(), promised, kept ? "" : "  NOT KEPT");
  return kept;
}

}  // namespace

int main() {
  if (!test::enter_private_network() || !test::add_bridge("vbr0", "10.9.0.1/24")) return 1;
  std::size_t losses = 0;
  NftablesOffload offload;
  auto started = offload.start({[&](const KernelOffload::Loss& loss) { losses += loss.mended; }});
  auto others = open_nft_backend();
  if (!started || !others) {
    std::fprintf(stderr, "%s\n", started.error().message.c_str());
    return 1;
  }
  std::vector<OffloadEntry> many;
  for (unsigned i = 0; i < elements; ++i)
    many.push_back(entry(i));
  const OffloadEntry one = entry(elements);
  const auto serve = [] {
    while (g_main_context_iteration(nullptr, FALSE)) {
    }
  };

  std::vector<double> all_added;
  std::vector<double> all_removed;
  for (int i = 0; i < 10; ++i) {
    all_added.push_back(milliseconds([&] { return offload.apply({}, many).has_value(); }));
    serve();
    all_removed.push_back(milliseconds([&] { return offload.apply(many, {}).has_value(); }));
    serve();
  }
  if (!offload.apply({}, many)) return 1;
  std::vector<double> added;
  std::vector<double> removed;
  for (int i = 0; i < 500; ++i) {
    added.push_back(milliseconds([&] { return offload.apply({}, {&one, 1}).has_value(); }));
    removed.push_back(milliseconds([&] { return offload.apply({&one, 1}, {}).has_value(); }));
    serve();
  }
  // From before the flush to the report that everything stands again. Not more often than
  // the offload bears.
  std::vector<double> back;
  for (int i = 0; i < 8; ++i) {
    const std::size_t before = losses;
    back.push_back(milliseconds([&] {
      if (!(*others)->run("flush ruleset")) return false;
      while (losses == before)
        g_main_context_iteration(nullptr, TRUE);
      return true;
    }));
  }
  bool kept = report("10,000 elements added in one step", all_added, 1000);
  kept = report("10,000 elements removed in one step", all_removed, 1000) && kept;
  kept = report("one added beside 10,000", added, 5) && kept;
  kept = report("one removed beside 10,000", removed, 5) && kept;
  kept = report("a flushed ruleset is back, beside 10,000", back, 100) && kept;
  return kept ? 0 : 1;
}
