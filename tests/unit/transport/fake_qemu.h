// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace vf {

// A QEMU that knows two user networks and prints what a real one prints (usernet_monitor_test.cpp).
class FakeQemu {
 public:
  std::string run(const std::string& command) {
    std::vector<std::string> words{""};
    for (const char c : command)
      if (c == ' ')
        words.emplace_back();
      else
        words.back() += c;
    if (command == "info usernet") return survey();
    if (words.size() != 3) return "string expected\r\n";
    if (!netdevs.contains(words[1])) return "unrecognized netdev id '" + words[1] + "'\r\n";
    const std::string host = words[2].substr(0, words[2].find('-'));
    const std::pair key(words[1], host);
    if (words[0] == "hostfwd_remove") {
      const bool was_there = rules.erase(key) > 0;
      return "host forwarding rule for " + host + (was_there ? " removed" : " not found") + "\r\n";
    }
    if (rules.contains(key) || taken.contains(host))
      return "Could not set up host forwarding rule '" + words[2] + "'\r\n";
    std::string guest = words[2].substr(words[2].find('-') + 1);
    if (guest.starts_with(":")) guest = "10.0.2.15" + guest;
    rules[key] = guest;
    return "";
  }

  std::string survey() const {
    std::string text;
    for (const std::string& netdev : netdevs) {
      text += "Hub -1 (" + netdev + "):\r\n  Protocol[State]    FD  Source Address  Port\r\n";
      for (const auto& [key, guest] : rules) {
        if (key.first != netdev) continue;
        std::string line = key.second + ' ' + guest;
        line.replace(3, 1, "[HOST_FORWARD] 11 ");
        std::ranges::replace(line, ':', ' ');
        line[0] = static_cast<char>(line[0] - 32);
        line[1] = static_cast<char>(line[1] - 32);
        line[2] = static_cast<char>(line[2] - 32);
        text += "  " + line + " 0 0\r\n";
      }
      text += "  TCP[TIME_WAIT] 12 10.0.2.15 40000 10.0.2.2 53 0 0\r\n";
    }
    return text;
  }

  std::set<std::string> netdevs{"hostnet0", "hostnet1"};
  std::map<std::pair<std::string, std::string>, std::string> rules;  // "tcp:ADDRESS:PORT" -> guest
  std::set<std::string> taken;
};

}  // namespace vf
