// SPDX-License-Identifier: LGPL-2.1-or-later
//
// offload_bench OFFLOAD hold HOST-PORT GUEST-PORT
//     Takes 127.0.0.1:HOST-PORT to 10.9.0.2:GUEST-PORT, beside 10,000 other elements, until its
//     standard input ends. Says "ready".
// offload_bench OFFLOAD elements ROUNDS
//     What elements cost, in ms, as one line of JSON.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "offload/nftables.h"
#include "offload/redirect.h"

namespace {

using namespace vf;
using Clock = std::chrono::steady_clock;

struct Backend {
  std::string_view name;
  std::unique_ptr<KernelOffload> (*make)();
};

constexpr Backend backends[] = {
    {"redirect",
     []() -> std::unique_ptr<KernelOffload> { return std::make_unique<RedirectOffload>(); }},
    {"nftables",
     []() -> std::unique_ptr<KernelOffload> { return std::make_unique<NftablesOffload>(); }},
};

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "offload_bench: %s\n", why.c_str());
  std::exit(1);
}

void check(const Result<void>& result) {
  if (!result) die(result.error().message);
}

OffloadEntry element(unsigned host_port, unsigned guest_port) {
  return {"u/" + std::to_string(host_port),
          Protocol::tcp,
          {IpAddress::loopback4(), *Port::from(host_port)},
          {*IpAddress::parse("10.9.0.2"), *Port::from(guest_port)},
          "vbr0"};
}

std::vector<OffloadEntry> ten_thousand() {
  std::vector<OffloadEntry> entries;
  for (unsigned port = 20000; port < 30000; ++port)
    entries.push_back(element(port, port - 10000));
  return entries;
}

unsigned number(const char* text) {
  const auto port = Port::parse(text);
  if (!port) die(std::string("not a number: ") + text);
  return port->number();
}

void hold(KernelOffload& offload, unsigned host_port, unsigned guest_port) {
  check(offload.apply({}, ten_thousand()));
  const OffloadEntry entry = element(host_port, guest_port);
  check(offload.apply({}, {&entry, 1}));
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

class Times {
 public:
  template <typename Step>
  void measure(Step step) {
    const auto begun = Clock::now();
    check(step());
    times_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
  }
  std::string json(const char* name) {
    std::sort(times_.begin(), times_.end());
    char line[160];
    std::snprintf(line, sizeof line, "\"%s\": {\"median\": %.4f, \"worst\": %.4f}", name,
                  times_[times_.size() / 2], times_.back());
    return line;
  }

 private:
  std::vector<double> times_;
};

void elements(KernelOffload& offload, unsigned rounds) {
  const auto many = ten_thousand();
  const OffloadEntry one = element(5000, 80);
  Times all_added, all_removed, one_added, one_removed;
  for (unsigned round = 0; round < std::max(rounds / 20, 1u); ++round) {
    all_added.measure([&] { return offload.apply({}, many); });
    all_removed.measure([&] { return offload.apply(many, {}); });
  }
  check(offload.apply({}, many));
  for (unsigned round = 0; round < rounds; ++round) {
    one_added.measure([&] { return offload.apply({}, {&one, 1}); });
    one_removed.measure([&] { return offload.apply({&one, 1}, {}); });
  }
  std::printf("{%s, %s, %s, %s}\n", all_added.json("all_added").c_str(),
              all_removed.json("all_removed").c_str(), one_added.json("one_added").c_str(),
              one_removed.json("one_removed").c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = argc > 2 ? argv[1] : "";
  const std::string_view command = argc > 2 ? argv[2] : "";
  const auto* const backend = std::find_if(std::begin(backends), std::end(backends),
                                           [&](const Backend& one) { return one.name == name; });
  if (backend == std::end(backends) ||
      !((command == "hold" && argc == 5) || (command == "elements" && argc == 4))) {
    std::fputs(
        "usage: offload_bench OFFLOAD hold HOST-PORT GUEST-PORT\n"
        "       offload_bench OFFLOAD elements ROUNDS\n"
        "OFFLOAD:",
        stderr);
    for (const Backend& one : backends)
      std::fprintf(stderr, " %s", std::string(one.name).c_str());
    std::fputs("\n", stderr);
    return 2;
  }
  const auto offload = backend->make();
  check(offload->start({[](const KernelOffload::Loss& loss) { die("lost: " + loss.reason); }}));
  if (command == "hold")
    hold(*offload, number(argv[3]), number(argv[4]));
  else
    elements(*offload, number(argv[3]));
}
