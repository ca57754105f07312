// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/config.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/fd.h"
#include "base/printable.h"

namespace vf::guest {
namespace {

constexpr std::size_t max_file_bytes = 64 * 1024;
constexpr std::string_view blanks = " \t\r";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

// Up to the separator, which goes too.
std::string_view take_until(std::string_view& text, char separator) {
  const auto end = text.find(separator);
  const std::string_view taken = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return taken;
}

std::optional<AccessRule> parse_rule(std::string_view text) {
  AccessRule rule;
  if (text.starts_with('/')) {
    rule.path = text;
    return rule;
  }
  if (const auto slash = text.rfind('/'); slash != std::string_view::npos) {
    const auto protocol = text.substr(slash + 1);
    if (protocol != "tcp" && protocol != "udp") return std::nullopt;
    rule.udp = protocol == "udp";
    text = text.substr(0, slash);
  }
  if ((rule.ports = PortRange::parse(text))) return rule;
  if ((rule.address = IpAddress::parse(text))) return rule;

  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view address = text.substr(0, colon);
  rule.ports = PortRange::parse(text.substr(colon + 1));
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed) address = address.substr(1, address.size() - 2);
  rule.address = IpAddress::parse(address);
  if (!rule.ports || !rule.address || rule.address->is_v4() == bracketed) return std::nullopt;
  return rule;
}

// Why not, or nothing.
std::string take_line(Config& config, std::string_view line) {
  const auto equals = line.find('=');
  if (equals == std::string_view::npos) return "KEY = VALUE expected";
  const auto key = trimmed(line.substr(0, equals));
  std::string_view value = trimmed(line.substr(equals + 1));
  if (key == "control-from") {
    if (value != "privileged" && value != "any-port")
      return "control-from is privileged or any-port";
    config.control_from_any_port = value == "any-port";
    return {};
  }
  if (key != "deny" && key != "allow") return "unknown key " + printable(key, 60);
  do {
    const auto item = trimmed(take_until(value, ','));
    const auto rule = parse_rule(item);
    if (!rule)
      return printable(item, 120) + " is no port, range of ports, address or absolute path";
    (key == "deny" ? config.deny : config.allow).push_back(*rule);
  } while (!value.empty());
  return {};
}

bool matches(const AccessRule& rule, const ListenerKey& socket) {
  return rule.path.empty() && rule.udp.value_or(socket.udp) == socket.udp &&
         (!rule.address || *rule.address == socket.address) &&
         (!rule.ports || rule.ports->contains(socket.port));
}

// Of fnmatch()'s special characters only * and ? are ours.
std::string glob_of(const std::string& pattern) {
  std::string glob;
  for (const char character : pattern) {
    if (character == '[' || character == '\\') glob += '\\';
    glob += character;
  }
  return glob;
}

// The part of a pattern that is a path, without symbolic links: /var/run is one to /run.
std::string resolved(const std::string& pattern) {
  const std::size_t star = pattern.find_first_of("*?");
  const std::size_t end = star == std::string::npos ? pattern.size() : pattern.rfind('/', star);
  for (const std::size_t cut : {end, pattern.rfind('/', end)}) {  // the last may not be there yet
    if (cut == 0 || cut == std::string::npos) break;
    const std::unique_ptr<char, void (*)(void*)> real(
        realpath(pattern.substr(0, cut).c_str(), nullptr), std::free);
    if (real) return real.get() + pattern.substr(cut);
  }
  return pattern;
}

bool matches(const AccessRule& rule, const std::string& path) {
  const auto fits = [&path](const std::string& pattern) {
    return fnmatch(glob_of(pattern).c_str(), path.c_str(), FNM_PATHNAME) == 0;
  };
  return !rule.path.empty() && (fits(rule.path) || fits(resolved(rule.path)));
}

template <typename Target>
bool permitted(const Config& config, const Target& target, bool is_path) {
  const auto hit = [&](const AccessRule& rule) { return matches(rule, target); };
  if (std::ranges::any_of(config.deny, hit)) return false;
  const auto same_kind = [&](const AccessRule& rule) { return rule.path.empty() != is_path; };
  return std::ranges::none_of(config.allow, same_kind) || std::ranges::any_of(config.allow, hit);
}

}  // namespace

Result<Config> Config::parse(std::string_view text, std::string_view file) {
  Config config;
  for (unsigned number = 1; !text.empty(); ++number) {
    std::string_view line = take_until(text, '\n');
    line = trimmed(take_until(line, '#'));
    if (line.empty()) continue;
    const std::string wrong = take_line(config, line);
    if (!wrong.empty())
      return Unexpected(ErrorCode::invalid_argument,
                        std::string(file) + ", line " + std::to_string(number) + ": " + wrong);
  }
  return config;
}

Result<Config> Config::load(const std::string& file) {
  const Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return Config{};
  if (!fd) return Unexpected(system_error(errno, file));
  std::string text(max_file_bytes + 1, '\0');
  std::size_t length = 0;
  while (length < text.size()) {
    const ssize_t got = read(fd.get(), text.data() + length, text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Unexpected(system_error(errno, file));
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  if (length > max_file_bytes)
    return Unexpected(ErrorCode::invalid_argument, file + " is longer than 64 KiB");
  text.resize(length);
  return parse(text, file);
}

bool Config::permits(const ListenerKey& socket) const {
  return permitted(*this, socket, false);
}

bool Config::permits(const std::string& path) const {
  return permitted(*this, path, true);
}

}  // namespace vf::guest
