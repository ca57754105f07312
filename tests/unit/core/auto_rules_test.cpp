// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The cases of auto_rules.txt, and what must hold of any rules.

#include "core/auto_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "core/definition_xml.h"

namespace vf {
namespace {

using testing::HasSubstr;

GuestListener listener_from(std::string_view spelling) {
  GuestListener listener;
  if (spelling.ends_with("/udp")) {
    listener.key.udp = true;
    spelling.remove_suffix(4);
  }
  const auto colon = spelling.rfind(':');
  listener.key.port = *Port::parse(spelling.substr(colon + 1));
  listener.key.address = *IpAddress::parse(spelling.substr(0, colon));
  return listener;
}

DetectedPort port_from(const std::string& spelling, const std::string& process = "",
                       const std::string& command = "") {
  std::vector<GuestListener> listeners;
  std::istringstream parts(spelling);
  for (std::string part; std::getline(parts, part, '+');) {
    listeners.push_back(listener_from(part));
    listeners.back().name = process;
    listeners.back().command = command;
  }
  const auto ports = detected_ports(listeners);
  EXPECT_EQ(ports.size(), 1u) << spelling;
  return ports.front();
}

AutoDefinition rules_from(const std::string& rules, const std::string& enabled = "yes") {
  const auto parsed = parse_definitions("<forwards><auto enabled=\"" + enabled + "\">" + rules +
                                        "</auto></forwards>");
  for (const DefinitionError& error : parsed.errors)
    ADD_FAILURE() << error.text();
  return *parsed.definitions.automatic;
}

// As the right side of a case.
std::string result_text(const AutoDecision& decision) {
  std::string result(text(decision.state));
  if (decision.rule) result += " rule " + std::to_string(*decision.rule);
  if (!decision.forward) return result;
  const SingleForward& forward = *decision.forward;
  if (const auto* socket = std::get_if<SocketPath>(&forward.spec.host))
    return result + " socket:" + socket->path;
  result += ' ';
  result += forward.claim.default_addresses ? "localhost" : forward.claim.addresses[0].text();
  result += ':' + std::to_string(forward.claim.port->number());
  return result + (forward.claim.guess ? " guess" : "");
}

void replace_all(std::string& text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
}

TEST(AutoRules, TheTable) {
  std::ifstream file(std::string(VF_SOURCE_DIR) + "/tests/unit/core/auto_rules.txt");
  std::string rules, enabled = "yes";
  int number = 0, cases = 0;
  for (std::string line; std::getline(file, line);) {
    SCOPED_TRACE("auto_rules.txt:" + std::to_string(++number) + ": " + line);
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "rules") {
      rules.clear();
      enabled = words >> word ? (word == "off" ? "no" : word) : "yes";
      continue;
    }
    if (word == "rule") {
      std::string attributes;
      std::getline(words, attributes);
      replace_all(attributes, '_', ' ');
      rules += "<rule" + attributes + "/>";
      continue;
    }
    const std::string listener = word;
    std::string process, command, expected;
    while (words >> word && word != "->") {
      if (word.starts_with("process=")) process = word.substr(8);
      if (word.starts_with("command=")) command = word.substr(8);
    }
    replace_all(command, '_', ' ');
    std::getline(words >> std::ws, expected);
    const AutoDefinition definition = rules_from(rules, enabled);
    Policy policy;
    policy.socket_directories = {"/run/sockets"};
    const AutoDecision decision = decide(definition, policy, port_from(listener, process, command));
    EXPECT_EQ(result_text(decision), expected);
    EXPECT_EQ(decision.reason.empty(), decision.state == DetectedState::forwarded);
    ++cases;
  }
  EXPECT_GE(cases, 100);
}

TEST(DetectedPorts, PairsAreOnePort) {
  const std::vector<GuestListener> listeners{
      listener_from("::1:3000"),     listener_from(":::8080"),      listener_from("0.0.0.0:8080"),
      listener_from("10.0.0.5:80"),  listener_from("fd00::5:80"),   listener_from("127.0.0.1:3000"),
      listener_from("0.0.0.0:3000"), listener_from("::1:5432"),     listener_from("127.0.0.53:53"),
      listener_from(":::8080/udp"),  listener_from("10.0.0.5:8080")};
  std::vector<std::string> ids;
  for (const DetectedPort& port : detected_ports(listeners))
    ids.push_back(port.id());
  EXPECT_THAT(ids, testing::ElementsAre("tcp:127.0.0.53=53", "tcp:10.0.0.5=80", "tcp:fd00::5=80",
                                        "tcp:3000", "tcp:localhost=3000", "tcp:localhost=5432",
                                        "tcp:8080", "tcp:10.0.0.5=8080", "udp:8080"));
}

TEST(DetectedPorts, ThePairsProcessIsThatOfIpv4) {
  GuestListener six = listener_from(":::80"), four = listener_from("0.0.0.0:80");
  six.name = "six";
  four.name = "four";
  const auto ports = detected_ports(std::vector{six, four});
  ASSERT_EQ(ports.size(), 1u);
  EXPECT_EQ(ports[0].process.name, "four");
  EXPECT_EQ(ports[0].addresses.size(), 2u);
  // One of the two stays under the same id.
  EXPECT_EQ(detected_ports(std::vector{six})[0].id(), ports[0].id());
}

TEST(DetectedPorts, OrderOfTheListenersDoesNotMatter) {
  std::vector<GuestListener> listeners;
  for (const char* spelling : {"0.0.0.0:1", ":::1", "127.0.0.1:1", "::1:1", "10.0.0.1:1",
                               "0.0.0.0:2", "::1:2", ":::3/udp", "0.0.0.0:3/udp"})
    listeners.push_back(listener_from(spelling));
  const auto expected = detected_ports(listeners);
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::shuffle(listeners.begin(), listeners.end(), random);
    EXPECT_EQ(detected_ports(listeners), expected);
  }
}

TEST(AutoRules, TheForwardHasWhatTheRuleSays) {
  const AutoDefinition rules = rules_from(
      R"(<rule guest-port="80" host-port="8888" transport="vsock" offload="none" label="web"
               scheme="http" on-busy="fail" notify="no" open="yes"/>)");
  const AutoDecision decision = decide(rules, {}, port_from("10.0.0.5:80"));
  ASSERT_TRUE(decision.forward);
  const SingleForward& forward = *decision.forward;
  EXPECT_EQ(forward.id, "auto:tcp:10.0.0.5=80");
  EXPECT_EQ(forward.definition, forward.id);
  EXPECT_EQ(forward.origin, Origin::automatic);
  EXPECT_EQ(forward.guest_port()->number(), 80);
  EXPECT_EQ(forward.spec.guest_address, IpAddress::parse("10.0.0.5"));
  EXPECT_EQ(forward.spec.transport, Transport::vsock);
  EXPECT_EQ(forward.spec.offload, Offload::none);
  EXPECT_EQ(forward.spec.label, "web");
  EXPECT_EQ(forward.spec.scheme, "http");
  EXPECT_EQ(forward.claim.on_busy, OnBusy::fail);
  EXPECT_FALSE(decision.by->notify);
  EXPECT_TRUE(decision.by->open);
  EXPECT_FALSE(forward.refused);
}

TEST(AutoRules, OnlyAListenerOnOneAddressIsReachedThere) {
  for (const char* anywhere : {"0.0.0.0:80", ":::80", "127.0.0.1:80", "::1:80"})
    EXPECT_FALSE(decide({}, {.automatic = true}, port_from(anywhere)).forward->spec.guest_address)
        << anywhere;
  for (const char* one : {"10.0.0.5:80", "127.0.0.53:80", "fd00::5:80"})
    EXPECT_TRUE(decide({}, {.automatic = true}, port_from(one)).forward->spec.guest_address) << one;
}

TEST(AutoRules, WhatTheHostForbidsIsDeniedByItsSetting) {
  Policy policy;
  policy.host_ports = {*PortRange::parse("8000-8999")};
  policy.transports = {Transport::tcp};
  const AutoDefinition rules = rules_from(
      R"(<rule guest-port="1" host-port="9000"/><rule guest-port="2" host-address="0.0.0.0"/>
         <rule guest-port="3" transport="vsock"/>)");
  const std::pair<const char*, const char*> cases[] = {{"0.0.0.0:1", "[host] ports"},
                                                       {"0.0.0.0:2", "[host] addresses"},
                                                       {"0.0.0.0:3", "[host] transports"}};
  for (const auto& [listener, setting] : cases) {
    const AutoDecision decision = decide(rules, policy, port_from(listener));
    EXPECT_EQ(decision.state, DetectedState::denied);
    EXPECT_THAT(decision.reason, HasSubstr(setting));
    ASSERT_TRUE(decision.forward);
    EXPECT_EQ(decision.forward->refused, ForwardState::denied);
  }
  // A guess may move to a port that is allowed.
  EXPECT_EQ(decide(rules, policy, port_from("0.0.0.0:3000")).state, DetectedState::forwarded);
}

TEST(AutoRules, SwitchedByDomainElseByHost) {
  Policy on, off;
  on.automatic = true;
  EXPECT_TRUE(automatic({}, on));
  EXPECT_FALSE(automatic({}, off));
  EXPECT_TRUE(automatic(rules_from("", "yes"), off));
  EXPECT_FALSE(automatic(rules_from("", "no"), on));
  EXPECT_TRUE(automatic(rules_from("", "policy"), on));
  EXPECT_FALSE(automatic(rules_from("", "policy"), off));
  const DetectedPort port = port_from("0.0.0.0:80");
  // The domain's name, and so the command that switches it on, is for who shows the reason.
  EXPECT_EQ(decide({}, off, port).reason,
            "automatic forwarding is off for this domain ([host] automatic, by default)");
  EXPECT_THAT(decide(rules_from("", "no"), on, port).reason, HasSubstr("enabled=\"no\""));
}

// --- what holds of any rules

struct Random {
  std::mt19937 engine{11};
  std::size_t below(std::size_t bound) { return engine() % bound; }
  template <typename T, std::size_t N>
  const T& of(const T (&values)[N]) {
    return values[below(N)];
  }

  std::string rule() {
    std::string result = "<rule action=\"" + std::string(of(actions)) + '"';
    const auto low = 7990 + below(20), width = below(5);
    const std::string ports =
        std::to_string(low) + (width ? '-' + std::to_string(low + width) : std::string());
    if (below(3)) result += " guest-port=\"" + ports + '"';
    if (below(2)) result += " guest-address=\"" + std::string(of(addresses)) + '"';
    if (below(4) == 0) result += " protocol=\"udp\"";
    if (below(4) == 0) result += " process=\"n*\"";
    return result + "/>";
  }

  DetectedPort port() {
    return port_from(std::string(of(addresses)) + ':' + std::to_string(7990 + below(25)) +
                         (below(4) ? "" : "/udp"),
                     below(2) ? "node" : "ruby");
  }

  static constexpr const char* actions[] = {"forward", "block", "ignore", "ask"};
  static constexpr const char* addresses[] = {"0.0.0.0", "::", "127.0.0.1", "::1", "10.0.0.5"};
};

TEST(AutoRules, TheFirstThatMatchesByItselfWins) {
  Random random;
  int decided = 0;
  for (int round = 0; round < 3000; ++round) {
    AutoDefinition rules;
    for (auto count = random.below(6); count > 0; --count)
      rules.rules.push_back(rules_from(random.rule()).rules.front());
    const DetectedPort port = random.port();
    const AutoDecision decision = decide(rules, {}, port);
    std::optional<std::size_t> first;
    for (std::size_t index = 0; index < rules.rules.size() && !first; ++index)
      if (decide(AutoDefinition{.rules = {rules.rules[index]}}, {}, port).rule) first = index + 1;
    ASSERT_EQ(decision.rule, first);
    decided += first.has_value();
    if (!first) continue;
    // What stands behind it can be left out or shuffled, and what does not match before it dropped.
    const AutoDecision alone = decide(AutoDefinition{.rules = {rules.rules[*first - 1]}}, {}, port);
    EXPECT_EQ(alone.state, decision.state);
    EXPECT_EQ(alone.forward, decision.forward);
    std::shuffle(rules.rules.begin() + static_cast<std::ptrdiff_t>(*first), rules.rules.end(),
                 random.engine);
    EXPECT_EQ(decide(rules, {}, port).rule, first);
  }
  EXPECT_GT(decided, 500);
}

TEST(AutoRules, BlockedAndIgnoredPortsGetNoForward) {
  Random random;
  for (int round = 0; round < 2000; ++round) {
    const AutoDefinition rules = rules_from(random.rule() + random.rule());
    const DetectedPort port = random.port();
    const AutoDecision decision = decide(rules, {}, port);
    EXPECT_EQ(decision.forward.has_value(), decision.state == DetectedState::forwarded);
    AutoDefinition off = rules;
    off.enabled = AutoMode::no;
    const AutoDecision while_off = decide(off, {}, port);
    EXPECT_EQ(while_off.state == DetectedState::blocked, decision.state == DetectedState::blocked);
    EXPECT_FALSE(while_off.forward);
  }
}

}  // namespace
}  // namespace vf
