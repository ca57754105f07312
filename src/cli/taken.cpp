// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/taken.h"

namespace vf {
namespace {

struct Run {
  unsigned requested;
  unsigned got;
  unsigned width;
};

std::string ports_of(unsigned first, unsigned width) {
  std::string ports = std::to_string(first);
  if (width > 1) ports += '-' + std::to_string(first + width - 1);
  return ports;
}

}  // namespace

std::vector<std::string> taken_words(const std::vector<PortGot>& ports, const char* instead) {
  std::vector<Run> runs;
  for (const PortGot& port : ports) {
    if (!port.requested || !port.got || port.requested == port.got) continue;
    const unsigned requested = port.requested->number();
    const unsigned got = port.got->number();
    if (!runs.empty() && requested == runs.back().requested + runs.back().width &&
        got == runs.back().got + runs.back().width)
      ++runs.back().width;
    else
      runs.push_back({requested, got, 1});
  }
  std::vector<std::string> lines;
  for (const Run& run : runs)
    lines.push_back(ports_of(run.requested, run.width) +
                    (run.width > 1 ? " is not free; " : " is taken; ") + instead + ' ' +
                    ports_of(run.got, run.width));
  return lines;
}

}  // namespace vf
