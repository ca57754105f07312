// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A control stream, cut where its first byte says.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "base/text.h"
#include "wire/guest.h"

namespace {

using namespace vf;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_text(const std::string& text, std::size_t most) {
  require(text.size() <= most);
  for (std::string_view rest = text; !rest.empty();) {
    const auto point = take_code_point(rest);
    require(point && is_plain(*point));
  }
}

void check(const GuestFrame& frame) {
  if (const auto* const hello = std::get_if<GuestHello>(&frame))
    check_text(hello->program, GuestHello::max_program_bytes);
  if (const auto* const listens = std::get_if<GuestListens>(&frame)) {
    check_text(listens->listener.name, GuestListener::max_name_bytes);
    check_text(listens->listener.command, GuestListener::max_command_bytes);
    check_text(listens->listener.container, GuestListener::max_container_bytes);
  }
  // What is printable once is the same when it is sent on.
  GuestFrameReader again;
  again.push(encode(frame));
  const auto second = again.next();
  require(second && *second && **second == frame);
}

// False after an error.
bool read_all(GuestFrameReader& reader, std::vector<GuestFrame>& frames) {
  for (;;) {
    const auto frame = reader.next();
    if (!frame) return false;
    if (!*frame) return true;
    check(**frame);
    frames.push_back(**frame);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::uint8_t> stream(data + 1, size - 1);
  GuestFrameReader whole;
  std::vector<GuestFrame> frames;
  whole.push(stream);
  const bool good = read_all(whole, frames);

  GuestFrameReader cut;
  std::vector<GuestFrame> same;
  const auto at = stream.size() * data[0] / 255;
  cut.push(stream.first(at));
  bool good_cut = read_all(cut, same);
  if (good_cut) {
    cut.push(stream.subspan(at));
    good_cut = read_all(cut, same);
  }
  require(good == good_cut && frames == same);
  return 0;
}
