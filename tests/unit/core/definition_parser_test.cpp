// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/definition_xml.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<std::string> identities(const ParsedDefinitions& parsed) {
  std::vector<std::string> result;
  for (const ForwardDefinition& forward : parsed.definitions.forwards)
    result.push_back(forward.identity());
  return result;
}

std::vector<int> lines(const ParsedDefinitions& parsed) {
  std::vector<int> result;
  for (const DefinitionError& error : parsed.errors)
    result.push_back(error.line);
  return result;
}

Port port(std::uint16_t number) {
  return *Port::from(number);
}

TEST(DefinitionParser, ReadsEveryAttributeOfAForward) {
  const auto parsed = parse_definitions(
      R"(<forwards><forward name="web" guest-port="8000-8001" guest-address="10.0.0.7"
           host-port="9000-9001" host-address="::1" protocol="udp" transport="vsock"
           offload="redirect" on-busy="fail" enabled="no" required="yes" label="The web"
           scheme="https" proxy-protocol="v2" idle-timeout="60" max-connections="7"/></forwards>)");
  EXPECT_THAT(parsed.errors, IsEmpty());
  ForwardDefinition expected{.guest = *PortRange::from(port(8000), port(8001))};
  expected.host = *PortRange::from(port(9000), port(9001));
  expected.host_address = IpAddress::loopback6();
  expected.guest_address = IpAddress::v4({10, 0, 0, 7});
  expected.protocol = Protocol::udp;
  expected.transport = Transport::vsock;
  expected.offload = Offload::redirect;
  expected.on_busy = OnBusy::fail;
  expected.enabled = false;
  expected.required = true;
  expected.name = "web";
  expected.label = "The web";
  expected.scheme = "https";
  expected.proxy_protocol = ProxyProtocol::v2;
  expected.idle_timeout = 60;
  expected.max_connections = 7;
  EXPECT_THAT(parsed.definitions.forwards, ElementsAre(expected));
}

TEST(DefinitionParser, LeavesDefaultsToTheType) {
  const auto parsed = parse_definitions(R"(<forwards><forward guest-port="80"/></forwards>)");
  EXPECT_THAT(parsed.definitions.forwards, ElementsAre(ForwardDefinition{.guest = port(80)}));
  EXPECT_FALSE(parsed.definitions.automatic);
  EXPECT_FALSE(parsed.definitions.ssh);
}

TEST(DefinitionParser, ReadsSockets) {
  const auto parsed = parse_definitions(
      R"(<forwards><forward guest-socket="/run/pg" host-socket="a/pg"/></forwards>)");
  ForwardDefinition expected{.guest = SocketPath{"/run/pg"}};
  expected.host = SocketPath{"a/pg"};
  EXPECT_THAT(parsed.definitions.forwards, ElementsAre(expected));
}

TEST(DefinitionParser, ReadsAutoAndSsh) {
  const auto parsed = parse_definitions(R"(<forwards>
      <auto enabled="policy"><rule action="ask" guest-port="80" guest-address="::1" protocol="udp"
        process="a*" command="b?" host-port="81" host-address="127.0.0.2" on-busy="any"
        transport="ssh" offload="none" label="l" scheme="s" notify="no" open="yes"/><rule/></auto>
      <ssh user="u" port="22" identity="k"/></forwards>)");
  EXPECT_THAT(parsed.errors, IsEmpty());
  AutoRule rule;
  rule.action = RuleAction::ask;
  rule.guest_port = PortRange(port(80));
  rule.guest_address = IpAddress::loopback6();
  rule.protocol = Protocol::udp;
  rule.process = "a*";
  rule.command = "b?";
  rule.host = PortRange(port(81));
  rule.host_address = IpAddress::v4({127, 0, 0, 2});
  rule.on_busy = OnBusy::any;
  rule.transport = Transport::ssh;
  rule.offload = Offload::none;
  rule.label = "l";
  rule.scheme = "s";
  rule.notify = false;
  rule.open = true;
  EXPECT_EQ(parsed.definitions.automatic,
            (AutoDefinition{.enabled = AutoMode::policy, .rules = {rule, AutoRule{}}}));
  EXPECT_EQ(parsed.definitions.ssh,
            (SshDefinition{.user = "u", .port = port(22), .identity = "k"}));
}

TEST(DefinitionParser, TakesAnEmptyText) {
  const auto parsed = parse_definitions("");
  EXPECT_THAT(parsed.errors, IsEmpty());
  EXPECT_EQ(parsed.definitions, Definitions{});
}

TEST(DefinitionParser, TakesEveryFormThatLibvirtHandsOut) {
  for (const char* xml : {
           // virDomainGetMetadata, and the same when the document set had a default namespace
           "<forwards>\n  <forward guest-port=\"80\"/>\n</forwards>",
           "<forwards xmlns:vf=\"urn:virt-forward:1\">\n  <forward "
           "guest-port=\"80\"/>\n</forwards>",
           // domain XML
           "<vf:forwards xmlns:vf=\"urn:virt-forward:1\"><vf:forward "
           "guest-port=\"80\"/></vf:forwards>",
           "<forwards xmlns=\"urn:virt-forward:1\" xmlns:vf=\"urn:virt-forward:1\"><forward "
           "guest-port=\"80\"/></forwards>",
       }) {
    const auto parsed = parse_definitions(xml);
    EXPECT_THAT(parsed.errors, IsEmpty()) << xml;
    EXPECT_THAT(identities(parsed), ElementsAre("tcp:any:80")) << xml;
  }
}

TEST(DefinitionParser, GoodSiblingsOfBadForwardsWork) {
  const auto parsed = parse_definitions(R"(<forwards>
  <forward guest-port="80"/>
  <forward guest-port="0"/>
  <forward guest-port="81"/>
  <forward guest-port="82"><oops/></forward>
  <oops/>
  <forward guest-port="83"/>
</forwards>)");
  EXPECT_THAT(identities(parsed), ElementsAre("tcp:any:80", "tcp:any:81", "tcp:any:83"));
  EXPECT_THAT(lines(parsed), ElementsAre(3, 5, 6));
}

TEST(DefinitionParser, AFaultyAutoIsOff) {
  for (const char* body : {"<auto><rule action=\"blok\" guest-port=\"80\"/><rule/></auto>",
                           "<auto x=\"1\"><rule/></auto>", "<auto>text</auto>",
                           "<auto><rule><rule/></rule></auto>", "<ssh user=\"u\"/><auto/>"}) {
    const auto parsed = parse_definitions("<forwards>" + std::string(body) + "</forwards>");
    EXPECT_THAT(parsed.errors, SizeIs(1)) << body;
    EXPECT_EQ(parsed.definitions.automatic, (AutoDefinition{.enabled = AutoMode::no, .rules = {}}))
        << body;
  }
}

TEST(DefinitionParser, AFaultySshIsNone) {
  const auto parsed = parse_definitions("<forwards><ssh user='u' identity='../k'/></forwards>");
  EXPECT_THAT(parsed.errors, SizeIs(1));
  EXPECT_FALSE(parsed.definitions.ssh);
}

TEST(DefinitionParser, LinesAreThoseOfTheAttributes) {
  const auto parsed = parse_definitions(
      "<forwards>\n"
      "\n"
      "  <forward label='a > b\n"
      "  name=\"' guest-port=\n"
      "      \"0\"\n"
      "    host-port='1'\n"
      "\tname='#'/>\r\n"
      "  <forward\n"
      "  />\n"
      "  <!-- <forward guest-port='0'/>\n"
      "  --><forward guest-port='1'>\n"
      "\n"
      "   a\n"
      "  </forward>\n"
      "</forwards>\n");
  EXPECT_THAT(parsed.errors, SizeIs(4));
  EXPECT_THAT(lines(parsed), ElementsAre(4, 7, 8, 13));
}

TEST(DefinitionParser, LinesGoOnPast65535) {
  const std::string blank(70000, '\n');
  const auto parsed =
      parse_definitions("<forwards>" + blank + "<forward guest-port='0'/></forwards>");
  EXPECT_THAT(lines(parsed), ElementsAre(70001));
}

TEST(DefinitionParser, ErrorsNameTheForwardWhereTheyCan) {
  const auto parsed = parse_definitions(R"(<forwards>
    <forward name="web" guest-port="0"/>
    <forward guest-port="80" host-port="8080" protocol="tcp" label=""/>
    <forward guest-port="80" host-port="0"/>
    <forward name="text" guest-port="81">x</forward>
    <forward name="" guest-port="82"/>
  </forwards>)");
  std::vector<std::string> named;
  for (const DefinitionError& error : parsed.errors)
    named.push_back(error.identity);
  EXPECT_THAT(named, ElementsAre("web", "tcp:8080:80", "", "text", ""));
}

TEST(DefinitionParser, TheSecondOfAnIdentityIsSkipped) {
  const auto parsed = parse_definitions(R"(<forwards>
    <forward name="web" guest-port="0"/>
    <forward name="web" guest-port="81"/>
    <forward name="web" guest-port="82"/>
  </forwards>)");
  ASSERT_THAT(parsed.definitions.forwards, SizeIs(1));
  EXPECT_EQ(parsed.definitions.forwards[0].guest, GuestSide(port(81)));
  EXPECT_THAT(lines(parsed), ElementsAre(2, 4));
}

TEST(DefinitionParser, FoundTextIsPrintableAndCut) {
  const auto parsed = parse_definitions("<forwards><forward guest-port=\"&#9;&#x9b;2J&#x202e;" +
                                        std::string(900, 'x') + "\"/><forward guest-port=\"" +
                                        std::string(2000, '1') + "\"/></forwards>");
  ASSERT_THAT(parsed.errors, SizeIs(2));
  EXPECT_THAT(parsed.errors[0].found, HasSubstr("\\x09\\xc2\\x9b2J\\xe2\\x80\\xaexxx"));
  EXPECT_EQ(parsed.errors[0].found.size(), 80u);
  EXPECT_EQ(parsed.errors[1].allowed, "at most 1024 bytes");
  EXPECT_EQ(parsed.errors[1].found.size(), 80u);
}

TEST(ParseForward, AgreesWithTheElement) {
  const auto forward = parse_forward({{"host-port", "8080"}, {"guest-port", "80"}});
  ASSERT_TRUE(forward);
  ForwardDefinition expected{.guest = port(80)};
  expected.host = PortRange(port(8080));
  EXPECT_EQ(*forward, expected);
}

TEST(ParseForward, ReportsOneLinePerWrongAttribute) {
  const auto forward = parse_forward(
      {{"guest-port", "80"}, {"host-port", "0"}, {"\x1b[2J", "x"}, {"label", "\xff"}});
  ASSERT_FALSE(forward);
  EXPECT_EQ(forward.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(forward.error().message,
              HasSubstr("host-port=\"0\": allowed are 1-65535 or a range like 8000-8009\n"
                        "\\x1b[2J=\"x\": allowed are only the attributes "));
  EXPECT_THAT(forward.error().message,
              HasSubstr("\nlabel=\"\\xff\": allowed are 1 to 256 bytes of text"));
}

TEST(ParseForward, RefusesAnAttributeTwiceAndNone) {
  EXPECT_EQ(parse_forward({{"guest-port", "80"}, {"guest-port", "81"}}).error().message,
            "guest-port=\"81\": allowed are each attribute once");
  EXPECT_EQ(parse_forward({}).error().message,
            "neither guest-port nor guest-socket; allowed are exactly one of the two");
}

TEST(ParseForward, RefusesNul) {
  EXPECT_FALSE(parse_forward({{"guest-port", std::string("80\0", 3)}}));
  EXPECT_FALSE(parse_forward({{"guest-port", "80"}, {"name", std::string("a\0b", 3)}}));
  EXPECT_FALSE(parse_forward({{"guest-port", "80"}, {"host-address", std::string("::1\0", 4)}}));
}

}  // namespace
}  // namespace vf
