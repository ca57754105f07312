// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/qemu_agent_reader.h"

#include <array>
#include <chrono>
#include <utility>

#include "glib/source.h"

namespace vf {
namespace {

constexpr std::chrono::seconds interval{5};
// Comes back in base64, with JSON around it, in one message to the relay.
constexpr int chunk_bytes = 30'000;
// Of one file: a guest with ten thousand connections does not keep the agent busy for ever.
constexpr int max_chunks = 40;

struct File {
  const char* path;
  RelayAgentStep step;
  bool udp;
};
constexpr std::array files{File{"/proc/net/tcp", RelayAgentStep::tcp4, false},
                           File{"/proc/net/tcp6", RelayAgentStep::tcp6, false},
                           File{"/proc/net/udp", RelayAgentStep::udp4, true},
                           File{"/proc/net/udp6", RelayAgentStep::udp6, true}};

std::string command(const char* name, const std::string& arguments) {
  return std::string(R"({"execute":")") + name + R"(","arguments":{)" + arguments + "}}";
}

}  // namespace

struct QemuAgentReader::Guest {
  explicit Guest(std::string its_uuid) : uuid(std::move(its_uuid)) {}

  const std::string uuid;
  bool udp = false;
  std::size_t file = 0;
  std::int64_t handle = 0;
  int chunks = 0;
  RelayAgentStep step = RelayAgentStep::number;  // of the reply that is with the relay
  std::uint64_t sequence = 0;                    // of it
  std::string told = "nothing told yet";
  Source next;
};

QemuAgentReader::QemuAgentReader(Outside outside) : outside_(std::move(outside)) {}

QemuAgentReader::~QemuAgentReader() = default;

void QemuAgentReader::watch(const std::string& uuid, bool udp) {
  const auto [found, is_new] = guests_.try_emplace(uuid);
  if (is_new) found->second = std::make_shared<Guest>(uuid);
  Guest& guest = *found->second;
  guest.udp = udp;
  if (is_new) guest.next = after(std::chrono::milliseconds(0), [this, &guest] { begin(guest); });
}

void QemuAgentReader::forget(const std::string& uuid) {
  guests_.erase(uuid);
}

void QemuAgentReader::begin(Guest& guest) {
  guest.next.reset();
  guest.file = 0;
  if (!hand_over(guest, RelayAgentStep::begin, {})) return over(guest, "the relay is not running");
  open(guest);
}

void QemuAgentReader::open(Guest& guest) {
  guest.chunks = 0;
  ask(guest,
      command("guest-file-open",
              std::string(R"("path":")") + files[guest.file].path + R"(","mode":"r")"),
      RelayAgentStep::number);
}

void QemuAgentReader::read(Guest& guest) {
  ask(guest,
      command("guest-file-read", R"("handle":)" + std::to_string(guest.handle) + R"(,"count":)" +
                                     std::to_string(chunk_bytes)),
      files[guest.file].step);
}

// Nobody waits for its answer.
void QemuAgentReader::close(Guest& guest) {
  outside_.ask(guest.uuid,
               command("guest-file-close", R"("handle":)" + std::to_string(guest.handle)),
               [](const Result<std::string>&) {});
}

void QemuAgentReader::next_file(Guest& guest) {
  do
    ++guest.file;
  while (guest.file < files.size() && files[guest.file].udp && !guest.udp);
  if (guest.file < files.size()) return open(guest);
  hand_over(guest, RelayAgentStep::end, {});
  over(guest, {});
}

void QemuAgentReader::ask(Guest& guest, std::string command, RelayAgentStep step) {
  outside_.ask(
      guest.uuid, std::move(command),
      [this, weak = std::weak_ptr<Guest>(guests_.at(guest.uuid)), step](Result<std::string> reply) {
        const auto asked = weak.lock();
        if (!asked) return;
        if (!reply) return over(*asked, reply.error().message);
        if (!hand_over(*asked, step, std::move(*reply)))
          over(*asked, "its answer is too long, or the relay is not running");
      });
}

bool QemuAgentReader::hand_over(Guest& guest, RelayAgentStep step, std::string text) {
  guest.step = step;
  guest.sequence = ++sequence_;
  return outside_.hand_over({guest.uuid, guest.sequence, step, std::move(text)});
}

void QemuAgentReader::answered(const RelayAgentAnswer& answer) {
  const auto found = guests_.find(answer.guest);
  if (found == guests_.end()) return;
  Guest& guest = *found->second;
  const bool awaited = answer.sequence == guest.sequence && !guest.next &&
                       guest.step != RelayAgentStep::begin && guest.step != RelayAgentStep::end;
  if (!awaited) return;
  if (!answer.understood) return over(guest, "its answer is not understood");
  if (guest.step == RelayAgentStep::number) {
    guest.handle = answer.number;
    return read(guest);
  }
  if (answer.number == 0 && ++guest.chunks < max_chunks) return read(guest);
  close(guest);
  next_file(guest);
}

void QemuAgentReader::over(Guest& guest, const std::string& problem) {
  guest.next = after(interval, [this, &guest] { begin(guest); });
  if (problem == guest.told) return;
  guest.told = problem;
  outside_.told(guest.uuid, problem);
}

}  // namespace vf
