// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/forward_match.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

ForwardView forward(const std::string& id, const std::string& definition, unsigned host,
                    unsigned guest, Protocol protocol = Protocol::tcp) {
  ForwardView view;
  view.id = id;
  view.definition = definition;
  if (definition.find(':') == std::string::npos) view.name = definition;
  view.host_port = Port::from(host);
  view.requested_port = Port::from(host);
  view.guest_port = Port::from(guest);
  view.protocol = protocol;
  view.host_addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  return view;
}

const std::vector<ForwardView>& forwards() {
  static const std::vector<ForwardView> list = [] {
    std::vector<ForwardView> made{
        forward("ssh", "ssh", 2222, 22),
        forward("tcp:8080:80", "tcp:8080:80", 8081, 80),  // 8080 was taken
        forward("udp:5353:53", "udp:5353:53", 5353, 53, Protocol::udp),
        forward("games#8000", "games", 18000, 8000),
        forward("games#8001", "games", 18001, 8001),
        forward("tcp:9000:80", "tcp:9000:80", 9000, 80),
        forward("22", "22", 7000, 7),
    };
    made[1].requested_port = Port::from(8080);
    return made;
  }();
  return list;
}

std::string match(std::string_view text) {
  const auto matching = match_forward(forwards(), text);
  if (!matching) return std::string(error_name(matching.error().code));
  std::string ids;
  for (const ForwardView& one : *matching)
    ids += (ids.empty() ? "" : " ") + one.id;
  return ids;
}

TEST(MatchForward, TheFirstReadingThatFits) {
  const std::pair<const char*, const char*> cases[] = {
      {"ssh", "ssh"},
      {"tcp:8080:80", "tcp:8080:80"},
      {"games", "games#8000 games#8001"},
      {"games#8001", "games#8001"},
      {"2222", "ssh"},
      {"22", "22"},  // a name goes before a port
      {"8081", "tcp:8080:80"},
      {"8080", "tcp:8080:80"},  // what was asked for
      {"18001", "games#8001"},
      {"53", "udp:5353:53"},
      {"53/udp", "udp:5353:53"},
      {"5353:53/udp", "udp:5353:53"},
      {"5353:53", "udp:5353:53"},
      {"5353:53/tcp", "NoSuchForward"},
      {"8080:80", "tcp:8080:80"},
      {"8081:80", "tcp:8080:80"},
      {"9000:80", "tcp:9000:80"},
      {"127.0.0.1:9000:80", "tcp:9000:80"},
      {"10.0.0.1:9000:80", "NoSuchForward"},
      {"80", "AmbiguousName"},
      {"18000-18001:8000-8001", "games#8000 games#8001"},
      {"nonsense", "NoSuchForward"},
      {"", "NoSuchForward"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(match(text), expected) << text;
}

TEST(MatchForward, ErrorsNameTheChoice) {
  EXPECT_EQ(match_forward(forwards(), "80").error().message,
            "\"80\" could be \"tcp:8080:80\", \"tcp:9000:80\"; say which of these");
  EXPECT_EQ(match_forward({}, "x").error().message, "no forward \"x\"; the domain has none");
  EXPECT_NE(match_forward(forwards(), "x").error().message.find("there are \"ssh\""),
            std::string::npos);
}

}  // namespace
}  // namespace vf
