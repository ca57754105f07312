// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/domain_scan.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

const std::string uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";

std::string domain(const std::string& metadata, const std::string& rest = "") {
  return "<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
         "  <name>web</name>\n  <uuid>" +
         uuid + "</uuid>\n  <metadata>\n" + metadata +
         "\n  </metadata>\n  <devices><interface><name>not this</name></interface></devices>\n" +
         rest + "</domain>\n";
}

const std::string element =
    "<vf:forwards xmlns:vf=\"urn:virt-forward:1\">\n"
    "  <!-- kept -->\n  <vf:forward guest-port=\"80\" host-port=\"8080\"/>\n"
    "</vf:forwards>";

TEST(DomainScan, FindsNameUuidAndElement) {
  const DomainScan scan = scan_domain(domain(element));
  EXPECT_EQ(scan.name, "web");
  EXPECT_EQ(scan.uuid, uuid);
  EXPECT_EQ(scan.element, element);
  EXPECT_EQ(scan.run, 3);
  EXPECT_FALSE(scan.required);
  EXPECT_TRUE(scan.complete);
}

TEST(DomainScan, RunIsTheNumberOfTheDomainItself) {
  const auto run = [](const std::string& attributes) {
    return scan_domain("<domain " + attributes + "><x id='9'/><uuid>" + uuid + "</uuid></domain>")
        .run;
  };
  EXPECT_EQ(run("type='kvm' id='2147483647'"), 2147483647);
  EXPECT_EQ(run("id='0' type='kvm'"), 0);
  for (const char* none : {"type='kvm'", "id=''", "id='-1'", "id='+1'", "id=' 1'", "id='1x'",
                           "id='2147483648'", "x:id='1' xmlns:x='u'"})
    EXPECT_EQ(run(none), std::nullopt) << none;
}

TEST(DomainScan, EmptyElementIsTakenWhole) {
  const std::string empty = "<forwards xmlns='urn:virt-forward:1'/>";
  EXPECT_EQ(scan_domain(domain(empty)).element, empty);
  const std::string spaced = "<forwards xmlns='urn:virt-forward:1'  ></forwards >";
  EXPECT_EQ(scan_domain(domain(spaced)).element, spaced);
}

TEST(DomainScan, NamespaceDeclaredOutsideIsPutIn) {
  const std::string xml = "<domain xmlns:f='urn:virt-forward:1'><uuid>" + uuid +
                          "</uuid><metadata><f:forwards><f:forward guest-port='1'/></f:forwards>"
                          "</metadata></domain>";
  EXPECT_EQ(scan_domain(xml).element,
            "<f:forwards xmlns:f=\"urn:virt-forward:1\"><f:forward guest-port='1'/></f:forwards>");
}

TEST(DomainScan, ElementStandsOnItsOwn) {
  const auto scanned = [](const std::string& outer, const std::string& metadata,
                          const std::string& inside) {
    return scan_domain("<domain " + outer + "><uuid>" + uuid + "</uuid>" + metadata + inside +
                       "</metadata></domain>")
        .element;
  };
  EXPECT_EQ(scanned("xmlns:x='urn:x&amp;\"&lt;' xmlns:unused='urn:u'",
                    "<metadata xmlns:f='urn:virt-forward:1'>", "<f:forwards><x:y/></f:forwards>"),
            "<f:forwards xmlns:x=\"urn:x&amp;&quot;&lt;\" xmlns:f=\"urn:virt-forward:1\"><x:y/>"
            "</f:forwards>");
  EXPECT_EQ(scanned("xmlns:x='urn:outer'", "<metadata xmlns:x='urn:inner'>",
                    "<forwards xmlns='urn:virt-forward:1'><x:y/></forwards>"),
            "<forwards xmlns:x=\"urn:inner\" xmlns='urn:virt-forward:1'><x:y/></forwards>");
  EXPECT_EQ(scanned("xmlns:x='urn:outer'", "<metadata>",
                    "<forwards xmlns='urn:virt-forward:1' xmlns:x='urn:own'><x:y/></forwards>"),
            "<forwards xmlns='urn:virt-forward:1' xmlns:x='urn:own'><x:y/></forwards>");
}

TEST(DomainScan, OtherPrefixesAreNotOurs) {
  for (const char* other :
       {"<vf:forwards xmlns:vf='urn:virt-forward:2'/>", "<forwards/>",
        "<vf:forward xmlns:vf='urn:virt-forward:1'/>",
        "<x><vf:forwards xmlns:vf='urn:virt-forward:1'/></x>", "<x xmlns='urn:virt-forward:1'/>",
        "<!-- <vf:forwards xmlns:vf='urn:virt-forward:1'/> -->",
        "<x><![CDATA[<forwards xmlns='urn:virt-forward:1'/>]]></x>"})
    EXPECT_EQ(scan_domain(domain(other)).element, "") << other;
}

TEST(DomainScan, ElementElsewhereIsNotOurs) {
  const std::string xml = "<domain><uuid>" + uuid +
                          "</uuid><devices><forwards xmlns='urn:virt-forward:1'>"
                          "<forward required='yes'/></forwards></devices></domain>";
  const DomainScan scan = scan_domain(xml);
  EXPECT_EQ(scan.element, "");
  EXPECT_FALSE(scan.required);
  EXPECT_EQ(scan_domain("<x><metadata>" + element + "</metadata></x>").element, "");
}

TEST(DomainScan, OnlyTheFirstOfTwoCounts) {
  const std::string second =
      "<forwards xmlns='urn:virt-forward:1'><forward required='yes'/></forwards>";
  const DomainScan scan = scan_domain(domain(element + second));
  EXPECT_EQ(scan.element, element);
  EXPECT_FALSE(scan.required);
}

struct RequiredCase {
  const char* forwards;
  bool required;
};

TEST(DomainScan, RequiredIsAnEnabledForwardThatSaysSo) {
  for (const RequiredCase& each :
       {RequiredCase{"<v:forward guest-port='1' required='yes'/>", true},
        RequiredCase{"<v:forward guest-port='1' required=\"yes\" enabled='yes'/>", true},
        RequiredCase{"<v:forward guest-port='1'/><v:forward required='yes'/>", true},
        RequiredCase{"<v:forward guest-port='1' required='no'/>", false},
        RequiredCase{"<v:forward guest-port='1' required='yes' enabled='no'/>", false},
        RequiredCase{"<v:forward guest-port='1' x:required='yes' xmlns:x='u'/>", false},
        RequiredCase{"<v:auto required='yes'/>", false},
        RequiredCase{"<v:auto><v:forward required='yes'/></v:auto>", false},
        RequiredCase{"<forward required='yes'/>", false},
        RequiredCase{"<!-- <v:forward required='yes'/> -->", false}}) {
    const std::string forwards =
        "<v:forwards xmlns:v='urn:virt-forward:1'>" + std::string(each.forwards) + "</v:forwards>";
    EXPECT_EQ(scan_domain(domain(forwards)).required, each.required) << each.forwards;
  }
}

TEST(DomainScan, CutOffDocumentTellsWhatItHad) {
  const std::string xml =
      domain("<f xmlns='urn:x'/><forwards xmlns='urn:virt-forward:1'><forward required='yes'/>");
  const DomainScan scan = scan_domain(xml.substr(0, xml.find("</metadata>")));
  EXPECT_FALSE(scan.complete);
  EXPECT_TRUE(scan.required);
  EXPECT_EQ(scan.element, "");
  EXPECT_EQ(scan.uuid, uuid);
}

TEST(DomainScan, EveryPrefixOfADocumentIsSurvived) {
  const std::string xml = domain(element);
  for (std::size_t length = 0; length < xml.size(); ++length) {
    const DomainScan scan = scan_domain(std::string_view(xml).substr(0, length));
    EXPECT_TRUE(scan.element.empty() || scan.element == element) << length;
  }
}

TEST(DomainScan, MetadataBeforeUuidIsFoundToo) {
  const DomainScan scan =
      scan_domain("<domain><metadata>" + element + "</metadata><name>n</name><uuid>" + uuid +
                  "</uuid></domain>");
  EXPECT_EQ(scan.element, element);
  EXPECT_EQ(scan.uuid, uuid);
  EXPECT_EQ(scan.name, "n");
}

TEST(DomainScan, UuidOfAnotherFormIsNone) {
  EXPECT_EQ(scan_domain("<domain><uuid>../../etc</uuid></domain>").uuid, "");
  EXPECT_EQ(scan_domain("<domain><uuid>6695EB01-F6A4-8304-79AA-97F2502E193F</uuid></domain>").uuid,
            uuid);
}

TEST(DomainScan, DoctypeAndEntitiesAreRefused) {
  const DomainScan scan = scan_domain(
      "<!DOCTYPE domain [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>" +
      domain(element));
  EXPECT_EQ(scan.element, "");
  EXPECT_FALSE(scan.complete);
}

TEST(DomainScan, NameWithReferencesIsDecoded) {
  EXPECT_EQ(scan_domain("<domain><name>a&amp;b &lt;$(id)&gt; \xc3\xa9</name></domain>").name,
            "a&b <$(id)> \xc3\xa9");
}

TEST(DomainScan, LongNameIsCut) {
  EXPECT_EQ(
      scan_domain("<domain><name>" + std::string(1 << 20, 'n') + "</name></domain>").name.size(),
      2048u);
}

TEST(DomainScan, DeepNestingIsSurvived) {
  std::string deep;
  for (int i = 0; i < 100000; ++i)
    deep += "<a>";
  EXPECT_EQ(scan_domain("<domain><uuid>" + uuid + "</uuid>" + deep).uuid, uuid);
}

TEST(MentionsForwards, IsTheCheapTest) {
  EXPECT_TRUE(mentions_forwards(domain(element)));
  EXPECT_FALSE(mentions_forwards(domain("")));
  EXPECT_FALSE(mentions_forwards(""));
}

}  // namespace
}  // namespace vf
