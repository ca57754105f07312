// SPDX-License-Identifier: LGPL-2.1-or-later
//
// nft-1.0.6.json is what `nft -j list ruleset` of Debian 12 printed for the ruleset that nft_text()
// shows in parts; the others are what that program and iptables-save 1.8.9 print.

#include "doctor/ruleset.h"

#include <gtest/gtest.h>

#include <fstream>

namespace vf {
namespace {

Packet to_guest(const char* address = "192.168.122.5", std::uint16_t port = 80) {
  Packet packet;
  packet.out_link = "virbr0";
  packet.source = IpAddress::parse("192.168.122.1");
  packet.destination = IpAddress::parse(address);
  packet.v6 = !packet.destination->is_v4();
  packet.destination_port = Port::from(port);
  return packet;
}

Packet from_guest() {
  Packet packet;
  packet.in_link = "virbr0";
  packet.source = IpAddress::parse("192.168.122.5");
  packet.destination = IpAddress::parse("192.168.122.1");
  packet.source_port = Port::from(80);
  packet.established = true;
  return packet;
}

std::string with_rules(const std::string& rules, const std::string& policy = "accept") {
  return R"({"nftables":[{"table":{"family":"inet","name":"fw","handle":1}},)"
         R"({"chain":{"family":"inet","table":"fw","name":"output","handle":1,"type":"filter",)"
         R"("hook":"output","prio":0,"policy":")" +
         policy + R"("}},{"chain":{"family":"inet","table":"fw","name":"sub","handle":2}})" +
         rules + "]}";
}

std::string rule(const std::string& expressions, const std::string& chain = "output") {
  return R"(,{"rule":{"family":"inet","table":"fw","chain":")" + chain +
         R"(","handle":9,"expr":[)" + expressions + "]}}";
}

constexpr char drop[] = R"({"drop":null})";
constexpr char to_bridge[] =
    R"({"match":{"op":"==","left":{"meta":{"key":"oifname"}},"right":"virbr*"}})";
constexpr char syn[] =
    R"({"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["syn","ack"]]},"right":"syn"}})";

// "certain TEXT", "maybe TEXT" or "policy"; empty: it gets through.
std::string outcome(const std::vector<FilterTable>& tables, const Packet& packet,
                    std::string_view hook = "output") {
  std::string words;
  for (const Obstacle& obstacle : obstacles(tables, hook, packet))
    words += std::string(words.empty() ? "" : "; ") + (obstacle.certain ? "certain " : "maybe ") +
             (obstacle.rule ? obstacle.rule->text : "policy");
  return words;
}

std::string of_json(const std::string& json, const Packet& packet) {
  const auto tables = read_nft_ruleset(json, false);
  return tables ? outcome(*tables, packet) : "unread";
}

TEST(Ruleset, ReadsWhatNftPrints) {
  std::ifstream file(VF_SOURCE_DIR "/tests/unit/doctor/nft-1.0.6.json");
  const std::string json{std::istreambuf_iterator<char>(file), {}};
  const auto tables = read_nft_ruleset(json, false);
  ASSERT_TRUE(tables);
  ASSERT_EQ(tables->size(), 1u);
  EXPECT_EQ(tables->front().family + ' ' + tables->front().name, "inet fw");
  // oifname "virbr*" ip daddr @lan tcp dport { 80, 8000-9000 } reject with tcp reset
  EXPECT_EQ(outcome(*tables, to_guest()),
            "certain oifname virbr* ip daddr @lan tcp dport { 80, 8000-9000 } reject");
  EXPECT_EQ(outcome(*tables, to_guest("192.168.122.5", 8500)),
            "certain oifname virbr* ip daddr @lan tcp dport { 80, 8000-9000 } reject");
  // oif "virbr0" ip daddr != 10.0.0.0/8 counter drop
  EXPECT_EQ(outcome(*tables, to_guest("192.168.122.5", 22)),
            "certain oif virbr0 ip daddr != 10.0.0.0/8 drop");
  // oifname { "virbr0", "virbr1" } meta l4proto { tcp, udp } drop
  EXPECT_EQ(outcome(*tables, to_guest("10.1.1.1", 22)),
            "certain oifname { virbr0, virbr1 } l4proto { tcp, udp } drop");
  Packet answer = to_guest();
  answer.established = true;
  EXPECT_EQ(outcome(*tables, answer), "") << "ct state { established, related } accept";
  // iifname "virbr0" accept, else the policy
  EXPECT_EQ(outcome(*tables, from_guest(), "input"), "");
  Packet other = from_guest();
  other.in_link = "br1";
  EXPECT_EQ(outcome(*tables, other, "input"), "certain policy");
}

TEST(Ruleset, FollowsVerdictMapsAndJumps) {
  EXPECT_EQ(
      of_json(
          with_rules(
              rule(
                  R"({"vmap":{"key":{"meta":{"key":"oifname"}},"data":{"set":[["lo",{"accept":null}],)"
                  R"(["virbr0",{"jump":{"target":"sub"}}]]}}})") +
              rule(drop, "sub")),
          to_guest()),
      "certain drop");
  EXPECT_EQ(of_json(with_rules(rule(R"({"goto":{"target":"sub"}})") + rule(drop) +
                               rule(R"({"return":null})", "sub")),
                    to_guest()),
            "")
      << "after goto the base chain is over, and its policy accepts";
}

TEST(Ruleset, SaysMaybeWhereItDoesNotKnow) {
  const std::string mark = R"({"match":{"op":"==","left":{"meta":{"key":"mark"}},"right":1}})";
  EXPECT_EQ(of_json(with_rules(rule(mark + "," + to_bridge + "," + drop)), to_guest()),
            "maybe mark 1 oifname virbr* drop");
  EXPECT_EQ(of_json(with_rules(rule(mark + "," + drop)), to_guest()), "")
      << "what names nothing of ours is no news";
  EXPECT_EQ(of_json(with_rules(rule(mark + R"(,{"accept":null})"), "drop"), to_guest()),
            "maybe policy");
  EXPECT_EQ(of_json(with_rules("", "drop"), to_guest()), "certain policy");
}

TEST(Ruleset, KnowsFirstPacketsByTheirFlags) {
  const std::string json = with_rules(rule(std::string(to_bridge) + "," + syn + "," + drop));
  EXPECT_EQ(of_json(json, to_guest()), "certain oifname virbr* … syn drop");
  Packet later = to_guest();
  later.established = true;
  EXPECT_EQ(of_json(json, later), "");
}

TEST(Ruleset, LeavesOursAndIptablesOwnOut) {
  const auto one = [](const char* family, const char* name, const char* chain) {
    return std::string(R"({"nftables":[{"chain":{"family":")") + family + R"(","table":")" + name +
           R"(","name":")" + chain + R"(","type":"filter","hook":"output","policy":"drop"}}]})";
  };
  EXPECT_TRUE(read_nft_ruleset(one("ip", "virt_forward", "output"), false)->empty());
  EXPECT_TRUE(read_nft_ruleset(one("ip", "filter", "OUTPUT"), true)->empty());
  const auto kept = read_nft_ruleset(one("ip", "filter", "OUTPUT"), false);
  ASSERT_EQ(kept->size(), 1u);
  EXPECT_EQ(kept->front().tool, FilterTable::Tool::iptables_nft);
  EXPECT_FALSE(read_nft_ruleset("Error: x", false));
}

constexpr char saved[] =
    "# Generated by iptables-nft-save v1.8.9 (nf_tables)\n"
    "*filter\n"
    ":INPUT DROP [0:0]\n"
    ":FORWARD ACCEPT [0:0]\n"
    ":OUTPUT ACCEPT [12:1048]\n"
    ":LIBVIRT_OUT - [0:0]\n"
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A OUTPUT -m comment --comment \"a -j DROP in words\" -j LIBVIRT_OUT\n"
    "-A OUTPUT -m owner --uid-owner 33 -j DROP\n"
    "-A OUTPUT ! -o virbr0 -p tcp -m tcp --dport 80 -j DROP\n"
    "-A OUTPUT -d 192.168.122.0/24 -o virbr+ -p tcp -m multiport --dports 443,8000:8009 -j REJECT "
    "--reject-with tcp-reset\n"
    "-A LIBVIRT_OUT -o virbr0 -p udp -m udp --dport 53 -j ACCEPT\n"
    "COMMIT\n"
    "*nat\n"
    ":OUTPUT DROP [0:0]\n"
    "COMMIT\n";

TEST(Ruleset, ReadsWhatIptablesSaves) {
  const auto tables = read_iptables_save(saved, FilterTable::Tool::iptables_nft, "ip");
  EXPECT_EQ(outcome(tables, to_guest()), "");
  EXPECT_EQ(outcome(tables, to_guest("192.168.122.5", 8005)).substr(0, 32),
            "certain -A OUTPUT -d 192.168.122");
  EXPECT_EQ(outcome(tables, to_guest("192.168.123.5", 8005)), "");
  Packet elsewhere = to_guest();
  elsewhere.out_link = "eth0";
  EXPECT_EQ(outcome(tables, elsewhere),
            "certain -A OUTPUT ! -o virbr0 -p tcp -m tcp --dport 80 -j DROP");
  EXPECT_EQ(outcome(tables, from_guest(), "input"), "");
  Packet client = to_guest();
  client.out_link = "";
  client.in_link.reset();
  EXPECT_EQ(outcome(tables, client, "input"), "certain policy");
  EXPECT_EQ(outcome(tables, to_guest("fd00::5", 8005)), "") << "not of this family";
}

// The same table in both, as nft 1.0.6 lists it: the devices are in the text alone.
std::string below(const char* family, const char* hook, const std::string& rules,
                  const char* policy = "accept") {
  return std::string(R"({"nftables":[{"chain":{"family":")") + family +
         R"(","table":"low","name":"one","type":"filter","hook":")" + hook + R"(","policy":")" +
         policy + R"("}},{"rule":{"family":")" + family +
         R"(","table":"low","chain":"one","expr":[)" + rules + "]}}]}";
}

std::string of_layer(const std::string& json, Layer layer, Packet packet, std::string_view hook,
                     const std::string& chains = "") {
  packet.layer = layer;
  const auto tables = read_nft_ruleset(json, false, chains);
  return tables ? outcome(*tables, packet, hook) : "unread";
}

TEST(Ruleset, OfABridgeSeesItsPortsAndHardwareAddresses) {
  Packet frame = to_guest();
  frame.out_link = "vnet0";
  frame.out_bridge = "virbr0";
  frame.destination_mac = "52:54:00:11:22:33";
  const auto judged = [&](const std::string& rules) {
    return of_layer(below("bridge", "output", rules), Layer::bridge, frame, "output");
  };
  const auto equal = [](const std::string& left, const std::string& right) {
    return R"({"match":{"op":"==","left":)" + left + R"(,"right":)" + right + "}},";
  };
  const std::string obrname = R"({"meta":{"key":"obrname"}})";
  const std::string daddr = R"({"payload":{"protocol":"ether","field":"daddr"}})";
  const std::string type = R"({"payload":{"protocol":"ether","field":"type"}})";
  EXPECT_EQ(judged(equal(obrname, R"("virbr0")") + drop), "certain obrname virbr0 drop");
  EXPECT_EQ(judged(equal(obrname, R"("virbr1")") + drop), "");
  EXPECT_EQ(judged(equal(daddr, R"("52:54:00:11:22:33")") + equal(type, R"("ip")") + drop),
            "certain ether daddr 52:54:00:11:22:33 ether type ip drop");
  EXPECT_EQ(judged(equal(daddr, R"("52:54:00:11:22:34")") + drop), "");
  EXPECT_EQ(judged(equal(type, R"("arp")") + drop), "");
  const std::string any = below("bridge", "output", drop);
  EXPECT_EQ(of_layer(any, Layer::network, to_guest(), "output"), "") << "another layer's";
  EXPECT_EQ(of_layer(with_rules("", "drop"), Layer::bridge, frame, "output"), "");
  frame.destination_mac.reset();
  EXPECT_EQ(judged(equal(daddr, R"("52:54:00:11:22:34")") + drop),
            "maybe ether daddr 52:54:00:11:22:34 drop");
}

TEST(Ruleset, OfADeviceIsForThatDevice) {
  const std::string json = below("netdev", "egress", drop);
  const auto judged = [&](const std::string& hook_line) {
    return of_layer(json, Layer::device, to_guest(), "egress",
                    "table inet low {\n\tchain one {\n\t\ttype filter hook ingress device \"lo\" "
                    "priority filter; policy accept;\n\t}\n}\ntable netdev low {\n\tchain one "
                    "{\n\t\ttype filter hook egress " +
                        hook_line + " priority filter; policy accept;\n\t}\n}\n");
  };
  EXPECT_EQ(judged("device \"virbr0\""), "certain drop");
  EXPECT_EQ(judged("devices = { eth0, virbr0 }"), "certain drop");
  EXPECT_EQ(judged("devices = { \"eth0\", \"virbr0\" }"), "certain drop");
  EXPECT_EQ(judged("device \"virbr1\""), "");
  EXPECT_EQ(of_layer(json, Layer::device, to_guest(), "egress"), "maybe drop")
      << "on which, is unknown";
  Packet unknown = to_guest();
  unknown.out_link.reset();
  EXPECT_EQ(of_layer(json, Layer::device, unknown, "egress"), "maybe drop");
}

TEST(Ruleset, ASubnetIsARange) {
  const auto net = subnet(*IpAddress::parse("192.168.130.77"), 23);
  ASSERT_TRUE(net);
  EXPECT_EQ(net->low.text() + ' ' + net->high.text(), "192.168.130.0 192.168.131.255");
  EXPECT_EQ(subnet(*IpAddress::parse("fe80::1"), 10)->high.text(),
            "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  EXPECT_EQ(subnet(*IpAddress::parse("1.2.3.4"), 0)->high.text(), "255.255.255.255");
  EXPECT_FALSE(subnet(*IpAddress::parse("1.2.3.4"), 33));
}

}  // namespace
}  // namespace vf
