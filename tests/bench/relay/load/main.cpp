// SPDX-License-Identifier: LGPL-2.1-or-later
//
// relay_load MODE [ADDRESS:]PORT COUNTERS [CONNECTIONS [WINDOW-MS [WARM-UP-MS]]]
//
// Both ends of every measurement of tests/bench/relay, on 127.0.0.1 unless told otherwise. MODE
// serve is the far end, the same behind every relay; the other modes connect to a relay, or
// straight to the far end, and print their figures as one line of JSON. COUNTERS is the file
// through which the far end counts.

#include <arpa/inet.h>
#include <signal.h>

#include <charconv>
#include <cstdio>
#include <string_view>

#include "clients.h"
#include "server.h"

namespace {

using namespace vf::load;

struct Command {
  std::string_view name;
  void (*run)(const Options&);
};

constexpr Command commands[] = {
    {"serve", [](const Options& options) { serve(options.port, map_counters(options.counters)); }},
    {"bulk", bulk},
    {"duplex", duplex},
    {"ping-pong", ping_pong},
    {"requests", requests},
    {"hold", hold},
    {"mixed", mixed},
    {"endings", endings},
    {"udp-echo", udp_echo},
    {"udp-flood", udp_flood},
};

int usage() {
  std::fputs(
      "usage: relay_load MODE [ADDRESS:]PORT COUNTERS [CONNECTIONS [WINDOW-MS [WARM-UP-MS]]]\n"
      "modes:",
      stderr);
  for (const Command& command : commands)
    std::fprintf(stderr, " %s", std::string(command.name).c_str());
  std::fputs("\n", stderr);
  return 2;
}

bool number(std::string_view text, unsigned& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 7) return usage();
  unsigned numbers[] = {0, 1, 500, 150};  // port, connections, window, warm-up
  std::string_view port = argv[2];
  if (const auto colon = port.find(':'); colon != port.npos) {
    in_addr address{};
    if (inet_pton(AF_INET, std::string(port.substr(0, colon)).c_str(), &address) != 1)
      return usage();
    name_address(address);
    port.remove_prefix(colon + 1);
  }
  if (!number(port, numbers[0]) || numbers[0] == 0 || numbers[0] > 65535) return usage();
  for (int index = 4; index < argc; ++index)
    if (!number(argv[index], numbers[index - 3])) return usage();
  signal(SIGPIPE, SIG_IGN);
  const Options options{static_cast<std::uint16_t>(numbers[0]), argv[3], numbers[1],
                        Milliseconds(numbers[3]), Milliseconds(numbers[2])};
  for (const Command& command : commands)
    if (command.name == argv[1]) {
      command.run(options);
      return 0;
    }
  return usage();
}
