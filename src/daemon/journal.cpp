// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/journal.h"

#include <sys/uio.h>
// sd_journal_sendv() would record this file's own position for every line.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "base/printable.h"

namespace vf {
namespace {

bool debug_lines = false;

bool under_journal() {
  static const bool under = std::getenv("JOURNAL_STREAM") != nullptr;
  return under;
}

std::string quoted(const std::string& value) {
  std::string text = printable(value);
  if (!text.empty() && text.find_first_of(" \"=\\") == std::string::npos) return text;
  std::string result = "\"";
  for (const char character : text) {
    if (character == '"') result += '\\';
    result += character;
  }
  return result += '"';
}

std::string journal_field(std::string_view name, const std::string& value) {
  std::string field = "VIRT_FORWARD_";
  for (const char letter : name)
    field +=
        letter == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return field + '=' + printable(value);
}

void send_to_journal(LogLevel level, const std::string& line, const LogFields& fields) {
  std::vector<std::string> entries{"MESSAGE=" + line,
                                   "PRIORITY=" + std::to_string(static_cast<int>(level)),
                                   "SYSLOG_IDENTIFIER=virt-forwardd"};
  for (const auto& [name, value] : fields)
    entries.push_back(journal_field(name, value));
  std::vector<iovec> vectors;
  for (std::string& entry : entries)
    vectors.push_back({entry.data(), entry.size()});
  sd_journal_sendv(vectors.data(), static_cast<int>(vectors.size()));
}

}  // namespace

void log(LogLevel level, std::string_view message, const LogFields& fields) {
  if (level == LogLevel::debug && !debug_lines) return;
  std::string line = printable(message, 1024);
  for (const auto& [name, value] : fields)
    if (!value.empty()) line.append(" ").append(name).append("=").append(quoted(value));
  if (under_journal()) return send_to_journal(level, line, fields);
  std::fprintf(stderr, "virt-forwardd: %s\n", line.c_str());
}

void log_debug_lines(bool wanted) {
  debug_lines = wanted;
}

}  // namespace vf
