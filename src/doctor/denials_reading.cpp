// SPDX-License-Identifier: LGPL-2.1-or-later

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "doctor/denials.h"
#include "doctor/reading.h"

namespace vf {
namespace {

constexpr std::size_t most_bytes = 4 << 20;

// The kernel's ring: one record a read, until there is none.
void read_kernel_log(DenialFacts& facts) {
  const Fd fd(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    facts.unread.push_back(system_error(errno, "/dev/kmsg"));
    return;
  }
  char record[8192];
  while (facts.log.size() < most_bytes) {
    const ssize_t got = read(fd.get(), record, sizeof record);
    if (got < 0 && (errno == EINTR || errno == EPIPE)) continue;  // EPIPE: records were overwritten
    if (got <= 0) {
      if (got < 0 && errno != EAGAIN) {
        facts.unread.push_back(system_error(errno, "/dev/kmsg"));
        return;
      }
      break;
    }
    facts.log.append(record, static_cast<std::size_t>(got)).append("\n");
  }
  facts.any = true;
}

void read_file(const std::string& path, DenialFacts& facts) {
  if (access(path.c_str(), F_OK) != 0) return;
  const auto text = read_end(path, most_bytes);
  if (text) {
    facts.log += *text;
    facts.any = true;
  } else {
    facts.unread.push_back(text.error());
  }
}

}  // namespace

DenialFacts read_denials() {
  DenialFacts facts;
  read_kernel_log(facts);
  read_file("/var/log/audit/audit.log", facts);
  read_file("/var/log/kern.log", facts);
  // auditd takes what the ring then does not have, and the journal has both.
  if (access("/run/systemd/journal/socket", F_OK) == 0) {
    const auto journal =
        output_of({"/usr/bin/journalctl", "--quiet", "--no-pager", "--boot", "--output=cat",
                   "--lines=20000", "_TRANSPORT=audit", "+", "_TRANSPORT=kernel"});
    if (journal && !journal->empty()) {
      facts.log += *journal;
      facts.any = true;
    } else if (!journal) {
      facts.unread.push_back(journal.error());
    }
  }
  return facts;
}

}  // namespace vf
