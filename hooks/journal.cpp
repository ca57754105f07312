// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/journal.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/printable.h"
#include "base/unix_address.h"

namespace vf {
namespace {

constexpr std::string_view identifier = "virt-forward-hook";
constexpr int daemon_facility = 3;

bool send_datagram(const std::string& path, const std::string& datagram) {
  const auto address = UnixAddress::from(path);
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!address || !socket) return false;
  return sendto(socket.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                address->get(), address->length) >= 0;
}

}  // namespace

void add_field(std::string& line, std::string_view key, std::string_view value) {
  const std::string shown = printable(value, 512);
  if (!line.empty()) line += ' ';
  line.append(key) += '=';
  const bool plain = !shown.empty() && shown.find_first_of(" \"\\=") == std::string::npos;
  if (plain) {
    line += shown;
    return;
  }
  line += '"';
  for (const char c : shown) {
    if (c == '"') line += '\\';
    line += c;
  }
  line += '"';
}

void log_line(Severity severity, std::string_view line, const LogSockets& sockets) {
  const std::string level = std::to_string(static_cast<int>(severity));
  std::string entry = "PRIORITY=" + level + "\nSYSLOG_IDENTIFIER=";
  entry.append(identifier).append("\nMESSAGE=").append(line) += '\n';
  if (send_datagram(sockets.journal, entry)) return;
  std::string record = '<' + std::to_string(daemon_facility * 8 + static_cast<int>(severity)) + '>';
  record.append(identifier) += '[' + std::to_string(getpid()) + "]: ";
  send_datagram(sockets.syslog, record.append(line));
}

}  // namespace vf
