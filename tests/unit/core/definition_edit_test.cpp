// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/definition_xml.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

ForwardDefinition web() {
  return *parse_forward({{"guest-port", "80"}, {"host-port", "8080"}});
}

std::string added(std::string_view xml, const ForwardDefinition& forward = web()) {
  const auto result = with_forwards_added(xml, {forward});
  return result ? *result : result.error().message;
}

std::string removed(std::string_view xml, std::string_view identity = "tcp:8080:80") {
  const auto result = with_forward_removed(xml, identity);
  return result ? *result : result.error().message;
}

constexpr auto one_forward =
    "<forwards>\n  <forward guest-port=\"80\" host-port=\"8080\"/>\n</forwards>";

TEST(DefinitionAdd, MakesTheElement) {
  EXPECT_EQ(added(""), one_forward);
  EXPECT_EQ(added("<forwards/>"), one_forward);
  EXPECT_EQ(added("<vf:forwards xmlns:vf=\"urn:virt-forward:1\"/>"), one_forward);
}

TEST(DefinitionAdd, PutsItBehindTheLastForwardInItsLayout) {
  EXPECT_EQ(added("<forwards>\n"
                  "    <forward guest-port=\"1\"/>\n"
                  "    <auto/>\n"
                  "</forwards>"),
            "<forwards>\n"
            "    <forward guest-port=\"1\"/>\n"
            "    <forward guest-port=\"80\" host-port=\"8080\"/>\n"
            "    <auto/>\n"
            "</forwards>");
  EXPECT_EQ(added("<forwards><forward guest-port=\"1\"/><ssh user=\"u\"/></forwards>"),
            "<forwards><forward guest-port=\"1\"/><forward guest-port=\"80\" host-port=\"8080\"/>"
            "<ssh user=\"u\"/></forwards>");
}

TEST(DefinitionAdd, PutsItBeforeAutoWhereThereIsNoForward) {
  EXPECT_EQ(
      added("<forwards>\n  <auto/>\n</forwards>"),
      "<forwards>\n  <forward guest-port=\"80\" host-port=\"8080\"/>\n  <auto/>\n</forwards>");
}

TEST(DefinitionAdd, KeepsWhatOthersWrote) {
  EXPECT_EQ(
      added("<vf:forwards xmlns:vf=\"urn:virt-forward:1\" xmlns:x=\"urn:x\" x:version=\"3\">\n"
            "  <!-- why -->\n"
            "  <vf:forward x:by=\"me\" guest-port=\"1\" label=\"&lt;é&#10;\" bad=\"\"/>\n"
            "  <x:note><![CDATA[<&]]><y xmlns=\"urn:y\"/></x:note>\n"
            "  <?keep me?>\n"
            "</vf:forwards>"),
      "<forwards xmlns:x=\"urn:x\" x:version=\"3\">\n"
      "  <!-- why -->\n"
      "  <forward x:by=\"me\" guest-port=\"1\" label=\"&lt;é&#10;\" bad=\"\"/>\n"
      "  <forward guest-port=\"80\" host-port=\"8080\"/>\n"
      "  <x:note><![CDATA[<&]]><y xmlns=\"urn:y\"/></x:note>\n"
      "  <?keep me?>\n"
      "</forwards>");
}

TEST(DefinitionAdd, WritesEveryAttribute) {
  const std::string xml =
      R"(<forwards><forward name="web &amp; &quot;more&quot;" guest-port="8000-8001"
     guest-address="10.0.0.7" host-port="9000-9001" host-address="::1" protocol="udp"
     transport="vsock" offload="redirect" on-busy="fail" enabled="no" required="yes" label="é"
     scheme="https" proxy-protocol="v2" idle-timeout="60" max-connections="7"/>
     <forward guest-socket="/run/pg" host-socket="a/pg"/></forwards>)";
  const auto forwards = parse_definitions(xml).definitions.forwards;
  ASSERT_EQ(forwards.size(), 2u);
  const std::string written = added(added("", forwards[0]), forwards[1]);
  EXPECT_EQ(parse_definitions(written).definitions.forwards, forwards) << written;
}

TEST(DefinitionAdd, ManyAreLaidOutAsOneAfterTheOther) {
  const auto ssh = *parse_forward({{"guest-port", "22"}});
  for (const std::string xml : {"", "<forwards/>", "<forwards>\n    <auto/>\n</forwards>",
                                "<forwards>\n  <forward guest-port=\"1\"/>\n</forwards>"}) {
    const auto both = with_forwards_added(xml, {web(), ssh});
    ASSERT_TRUE(both) << both.error().message;
    EXPECT_EQ(*both, added(added(xml), ssh));
  }
}

TEST(DefinitionAdd, RefusesAllWhereOneIsThereOrIsGivenTwice) {
  const auto ssh = *parse_forward({{"guest-port", "22"}});
  EXPECT_EQ(with_forwards_added(one_forward, {ssh, web()}).error().message,
            "entry 2: there is a forward \"tcp:8080:80\" already, in line 2 of the metadata");
  EXPECT_EQ(with_forwards_added("", {web(), ssh, web()}).error().message,
            "entry 3: there is a forward \"tcp:8080:80\" already, among these");
}

TEST(DefinitionAdd, RefusesMoreThanADocumentMayHave) {
  std::vector<ForwardDefinition> many;
  for (unsigned port = 1; port <= DefinitionLimits::forwards; ++port)
    many.push_back(*parse_forward({{"guest-port", std::to_string(port)}}));
  EXPECT_TRUE(with_forwards_added("", many));
  EXPECT_EQ(with_forwards_added(one_forward, many).error().message,
            "the metadata would have 4097 forwards; allowed are at most 4096");
}

TEST(DefinitionAdd, RefusesASecondOfAnIdentity) {
  const auto result = with_forwards_added(one_forward, {web()});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(result.error().message,
            "entry 1: there is a forward \"tcp:8080:80\" already, in line 2 of the metadata");
  // Also where the first one is wrong, and would come to life when mended.
  EXPECT_THAT(added("<forwards><forward name='web' guest-port='0'/></forwards>",
                    *parse_forward({{"name", "web"}, {"guest-port", "80"}})),
              HasSubstr("already"));
}

TEST(DefinitionAdd, RefusesWhatItCannotRead) {
  for (const char* xml : {"<forwards>", "<!DOCTYPE forwards><forwards/>", "<other/>",
                          "<forwards xmlns='urn:other'/>"}) {
    const auto result = with_forwards_added(xml, {web()});
    ASSERT_FALSE(result) << xml;
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(result.error().message, HasSubstr("the metadata cannot be edited: ")) << xml;
    EXPECT_THAT(result.error().message, HasSubstr("--edit\" mends it")) << xml;
  }
}

TEST(DefinitionAdd, SaysWhatIsExpectedInPlaceOfAnotherElementAndHowToGetThere) {
  const auto result = with_forwards_added("<forward guest-port='80'/>", {web()});
  ASSERT_FALSE(result);
  EXPECT_EQ(
      result.error().message,
      "the metadata cannot be edited: its element is <forward>, and allowed is <forwards> of "
      "urn:virt-forward:1: \"virsh metadata DOMAIN urn:virt-forward:1 --key vf --edit\" mends "
      "it, and --remove instead of --key vf --edit takes it away; of the domain's next start "
      "with --config");
}

TEST(DefinitionAdd, RefusesToGrowPastTheLimit) {
  const std::string large = "<forwards><!--" + std::string((1 << 20) - 40, 'x') + "--></forwards>";
  EXPECT_TRUE(parse_definitions(large).errors.empty());
  EXPECT_THAT(added(large), HasSubstr("would be larger than 1048576 bytes"));
}

// virDomainSetMetadata declares our prefix at the root itself and fails when it is there; it puts
// what has no namespace into ours. So no declaration of the result may capture what is ours, nor
// may what belongs to others come without a namespace.
TEST(DefinitionAdd, LeavesNoNamespaceOfOurs) {
  EXPECT_EQ(added("<forwards xmlns=\"urn:virt-forward:1\" xmlns:vf=\"urn:virt-forward:1\"><auto/>"
                  "</forwards>"),
            "<forwards><forward guest-port=\"80\" host-port=\"8080\"/><auto/></forwards>");
  EXPECT_EQ(added("<forwards xmlns:vf=\"urn:virt-forward:1\"><auto/></forwards>"),
            "<forwards><forward guest-port=\"80\" host-port=\"8080\"/><auto/></forwards>");
  EXPECT_EQ(added("<v:forwards xmlns:v=\"urn:virt-forward:1\"><x xmlns=\"urn:x\"><v:y/></x>"
                  "</v:forwards>"),
            "<forwards><forward guest-port=\"80\" host-port=\"8080\"/><x xmlns=\"urn:x\">"
            "<y xmlns=\"\"/></x></forwards>");
}

TEST(DefinitionAdd, RenamesPrefixesThatStandInTheWay) {
  EXPECT_EQ(added("<q:forwards xmlns:q=\"urn:virt-forward:1\" xmlns=\"urn:o\" xmlns:vf=\"urn:p\">"
                  "<y/><vf:z vf:a=\"1\"/><ns1:x xmlns:ns1=\"urn:n\"/></q:forwards>"),
            "<forwards xmlns:ns2=\"urn:o\" xmlns:ns3=\"urn:p\">"
            "<forward guest-port=\"80\" host-port=\"8080\"/>"
            "<ns2:y/><ns3:z ns3:a=\"1\"/><ns1:x xmlns:ns1=\"urn:n\"/></forwards>");
}

TEST(DefinitionAdd, KeepsAnAttributeOfOurPrefixOnlyWhereItHasRoom) {
  EXPECT_EQ(added("<v:forwards xmlns:v=\"urn:virt-forward:1\"><v:auto v:enabled=\"no\"/>"
                  "<v:ssh user=\"a\" v:user=\"b\"/></v:forwards>"),
            "<forwards><forward guest-port=\"80\" host-port=\"8080\"/><auto enabled=\"no\"/>"
            "<ssh user=\"a\"/></forwards>");
}

TEST(DefinitionRemove, TakesItsLineAlong) {
  EXPECT_EQ(removed("<forwards>\n"
                    "  <forward guest-port=\"1\"/>\n"
                    "  <forward guest-port=\"80\" host-port=\"8080\"/>\n"
                    "  <!-- why -->\n"
                    "  <auto/>\n"
                    "</forwards>"),
            "<forwards>\n"
            "  <forward guest-port=\"1\"/>\n"
            "  <!-- why -->\n"
            "  <auto/>\n"
            "</forwards>");
}

TEST(DefinitionRemove, LeavesNothingOfAnEmptyElement) {
  EXPECT_EQ(removed(one_forward), "");
  EXPECT_EQ(removed("<v:forwards xmlns:v=\"urn:virt-forward:1\" xmlns:x=\"urn:x\">"
                    "<v:forward guest-port=\"80\" host-port=\"8080\"/></v:forwards>"),
            "");
}

TEST(DefinitionRemove, LeavesWhatOthersPutIntoTheElement) {
  EXPECT_EQ(removed("<forwards xmlns:x=\"urn:x\" x:a=\"1\">\n"
                    "  <forward guest-port=\"80\" host-port=\"8080\"/>\n"
                    "</forwards>"),
            "<forwards xmlns:x=\"urn:x\" x:a=\"1\"/>");
  EXPECT_EQ(
      removed("<forwards><!-- why --><forward guest-port=\"80\" host-port=\"8080\"/></forwards>"),
      "<forwards><!-- why --></forwards>");
}

TEST(DefinitionRemove, GoesByNameAndByIdentity) {
  const auto xml =
      "<forwards><forward name=\"web\" guest-port=\"80\"/><forward guest-port=\"80\"/></forwards>";
  EXPECT_EQ(removed(xml, "web"), "<forwards><forward guest-port=\"80\"/></forwards>");
  EXPECT_EQ(removed(xml, "tcp:any:80"),
            "<forwards><forward name=\"web\" guest-port=\"80\"/></forwards>");
}

// Otherwise the second one, skipped until now, would start to work.
TEST(DefinitionRemove, TakesAllOfAnIdentityRightOrWrong) {
  EXPECT_EQ(removed("<forwards><forward name=\"web\" guest-port=\"80\"/>"
                    "<forward name=\"web\" guest-port=\"81\"/>"
                    "<forward name=\"web\" guest-port=\"0\"/><auto/></forwards>",
                    "web"),
            "<forwards><auto/></forwards>");
}

TEST(DefinitionRemove, SaysWhenThereIsNone) {
  for (const char* xml : {"", one_forward, "<forwards/>"}) {
    const auto result = with_forward_removed(xml, "web\x1b");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::no_such_forward);
    EXPECT_EQ(result.error().message, "the metadata has no forward \"web\\x1b\"");
  }
}

TEST(DefinitionRemove, UndoesAdd) {
  for (const char* xml : {"<forwards>\n  <auto/>\n</forwards>", "<forwards><auto/></forwards>",
                          "<forwards>\n  <forward guest-port=\"1\"/>\n</forwards>",
                          "<forwards>\n  <!-- x -->\n</forwards>"})
    EXPECT_EQ(removed(added(xml)), xml);
}

TEST(ForwardsElement, IsFoundInADomain) {
  const auto element = forwards_element(
      "<domain type='kvm'><name>a</name><metadata>\n"
      "  <o:info xmlns:o='urn:o'><vf:forwards xmlns:vf='urn:virt-forward:1'/></o:info>\n"
      "  <vf:forwards xmlns:vf=\"urn:virt-forward:1\">\n"
      "    <vf:forward guest-port=\"80\"/>\n"
      "  </vf:forwards>\n"
      "</metadata><vf:forwards xmlns:vf='urn:virt-forward:1'/></domain>");
  ASSERT_TRUE(element);
  EXPECT_EQ(*element,
            "<vf:forwards xmlns:vf=\"urn:virt-forward:1\">\n"
            "    <vf:forward guest-port=\"80\"/>\n"
            "  </vf:forwards>");
}

TEST(ForwardsElement, DeclaresWhatItsAncestorsDid) {
  const auto element = forwards_element(
      "<domain xmlns:vf='urn:virt-forward:1' xmlns:x='urn:x'><metadata>"
      "<vf:forwards><vf:forward guest-port='80' x:a='1'/></vf:forwards></metadata></domain>");
  ASSERT_TRUE(element);
  const auto parsed = parse_definitions(*element);
  EXPECT_THAT(parsed.errors, IsEmpty()) << *element;
  EXPECT_EQ(parsed.definitions.forwards.size(), 1u);
  EXPECT_THAT(*element, HasSubstr("x:a=\"1\""));
}

TEST(ForwardsElement, IsEmptyWhereThereIsNone) {
  for (const char* xml :
       {"<domain/>", "<domain><metadata/></domain>", "",
        "<domain><metadata><forwards xmlns='urn:virt-forward:12'/></metadata></domain>",
        "<domain><title>urn:virt-forward:1</title></domain>",
        "<network><metadata><forwards xmlns='urn:virt-forward:1'/></metadata></network>"}) {
    const auto element = forwards_element(xml);
    ASSERT_TRUE(element) << xml;
    EXPECT_EQ(*element, "") << xml;
  }
}

TEST(ForwardsElement, FailsForWhatIsNotWellFormed) {
  const auto element = forwards_element("<domain>\n<metadata urn:virt-forward:1></domain>");
  ASSERT_FALSE(element);
  EXPECT_THAT(element.error().message, HasSubstr("the domain's XML, line 2: "));
}

TEST(ForwardsElement, TakesALargeDomain) {
  const std::string filler(4 << 20, 'x');
  const auto element = forwards_element(
      "<domain><description>" + filler +
      "</description><metadata><forwards xmlns=\"urn:virt-forward:1\"/></metadata></domain>");
  ASSERT_TRUE(element) << element.error().message;
  EXPECT_EQ(*element, "<forwards xmlns=\"urn:virt-forward:1\"/>");
}

TEST(DefinitionWrite, LeavesDefaultsOut) {
  EXPECT_EQ(write_definitions({}), "<forwards xmlns=\"urn:virt-forward:1\"/>");
  Definitions definitions;
  definitions.forwards.push_back(web());
  definitions.automatic = AutoDefinition{.rules = {AutoRule{}}};
  definitions.ssh = SshDefinition{.user = "u", .port = {}, .identity = {}};
  EXPECT_EQ(write_definitions(definitions),
            "<forwards xmlns=\"urn:virt-forward:1\">\n"
            "  <forward guest-port=\"80\" host-port=\"8080\"/>\n"
            "  <auto>\n"
            "    <rule/>\n"
            "  </auto>\n"
            "  <ssh user=\"u\"/>\n"
            "</forwards>");
}

TEST(DefinitionChange, SetsAndTakesAwayAttributesAndKeepsTheRest) {
  constexpr auto xml =
      "<forwards>\n  <!-- mine -->\n"
      "  <forward guest-port=\"80\" host-port=\"8080\" label=\"Web\" on-busy=\"fail\"/>\n"
      "</forwards>";
  const auto changed =
      with_forward_changed(xml, "tcp:8080:80", {{"host-port", "9090"}, {"label", ""}});
  ASSERT_TRUE(changed) << changed.error().message;
  EXPECT_EQ(changed->xml,
            "<forwards>\n  <!-- mine -->\n"
            "  <forward guest-port=\"80\" host-port=\"9090\" on-busy=\"fail\"/>\n"
            "</forwards>");
  EXPECT_EQ(changed->forward.identity(), "tcp:9090:80");
}

TEST(DefinitionChange, RefusesWhatWouldBeWrong) {
  constexpr auto xml =
      "<forwards><forward guest-port=\"80\" host-port=\"8080\"/>"
      "<forward guest-port=\"80\" host-port=\"9090\"/></forwards>";
  const auto code = [&](const char* identity, const char* name, const char* value) {
    const auto changed = with_forward_changed(xml, identity, {{name, value}});
    return changed ? std::string("changed") : std::string(error_name(changed.error().code));
  };
  EXPECT_EQ(code("tcp:8080:80", "host-port", "9090"), "InvalidArgument");
  EXPECT_EQ(code("tcp:8080:80", "host-port", "99999"), "InvalidArgument");
  EXPECT_EQ(code("tcp:8080:80", "guest-port", ""), "InvalidArgument");
  EXPECT_EQ(code("tcp:8080:80", "nonsense", "1"), "InvalidArgument");
  EXPECT_EQ(code("tcp:1:80", "label", "x"), "NoSuchForward");
  EXPECT_EQ(code("tcp:8080:80", "label", "x"), "changed");
}

}  // namespace
}  // namespace vf
