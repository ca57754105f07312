// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/forward_file.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "client/json.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> identities(const ForwardFile& file) {
  std::vector<std::string> list;
  for (const FiledForward& forward : file.forwards)
    list.push_back(forward.definition.identity());
  return list;
}

std::vector<ForwardDefinition> definitions(const ForwardFile& file) {
  std::vector<ForwardDefinition> list;
  for (const FiledForward& forward : file.forwards)
    list.push_back(forward.definition);
  return list;
}

TEST(ForwardFile, AListAsOtherProgramsHaveIt) {
  const ForwardFile file = read_forward_file(
      "# ports of the lab\n\n8080:80\n  2222:22\t# ssh\n5353:53/udp\r\n3000\n"
      "[::1]:9000:90\n127.0.0.1::91\n18000-18001:8000-8001/tcp");
  EXPECT_THAT(file.errors, IsEmpty());
  EXPECT_THAT(identities(file),
              ElementsAre("tcp:8080:80", "tcp:2222:22", "udp:5353:53", "tcp:any:3000",
                          "tcp:::1=9000:90", "tcp:127.0.0.1=any:91", "tcp:18000-18001:8000-8001"));
  EXPECT_EQ(file.forwards[1].place, "line 4");
}

TEST(ForwardFile, AttributesStandBehindOrAlone) {
  const ForwardFile file = read_forward_file(
      "8080:80 name=web label=\"the web's server\" on-busy=fail enabled=no\n"
      "guest-socket=/run/a:b.sock host-port=81\n");
  EXPECT_THAT(file.errors, IsEmpty());
  ASSERT_EQ(file.forwards.size(), 2u);
  const ForwardDefinition& web = file.forwards[0].definition;
  EXPECT_EQ(web.name, "web");
  EXPECT_EQ(web.label, "the web's server");
  EXPECT_EQ(web.on_busy, OnBusy::fail);
  EXPECT_FALSE(web.enabled);
  EXPECT_EQ(std::get<SocketPath>(file.forwards[1].definition.guest).path, "/run/a:b.sock");
}

TEST(ForwardFile, EveryMistakeIsNamedWithItsLine) {
  const ForwardFile file = read_forward_file(
      "8080:80\n99999:80\nname=x\n81:81 colour=blue\n82:82 blue\n83:83 "
      "label=\"open\n8080:80/tcp\n");
  EXPECT_THAT(identities(file), ElementsAre("tcp:8080:80", "tcp:8080:80"));
  EXPECT_THAT(file.errors,
              ElementsAre(HasSubstr("line 2: \"99999\" is not a host port"), HasSubstr("line 3: "),
                          HasSubstr("line 4: "), HasSubstr("line 5: \"blue\" is no attribute"),
                          HasSubstr("line 6: "),
                          HasSubstr("line 7: \"tcp:8080:80\" is in line 1 already")));
}

TEST(ForwardFile, WhatIsNoTextIsRefused) {
  EXPECT_THAT(read_forward_file(std::string_view("80\0"
                                                 "81",
                                                 5))
                  .errors,
              ElementsAre(HasSubstr("no text")));
  EXPECT_THAT(read_forward_file("80 name=\xff").errors, ElementsAre(HasSubstr("UTF-8")));
  EXPECT_THAT(read_forward_file(std::string(2 << 20, '#')).errors,
              ElementsAre(HasSubstr("longer")));
  const ForwardFile empty = read_forward_file("");
  EXPECT_TRUE(empty.errors.empty() && empty.forwards.empty());
}

TEST(ForwardFile, AJsonTextHasFewLevels) {
  const auto nested = [](std::size_t levels) {
    return R"([{"guest-port":"80","x":)" + std::string(levels, '[') + std::string(levels, ']') +
           "}]";
  };
  EXPECT_EQ(read_forward_file(nested(200'000)).errors,
            std::vector<std::string>{"it has more than 64 levels"});
  EXPECT_EQ(read_forward_file(nested(62)).errors,
            std::vector<std::string>{"[0]: x is " + std::string(62, '[') + std::string(15, ']') +
                                     "...; allowed are texts"});
  const std::string brackets = R"([{"guest-port":"80","label":")" + std::string(100, '[') + "\\\"" +
                               std::string(100, '{') + R"("}])";
  EXPECT_EQ(read_forward_file(brackets).forwards.size(), 1u);
}

// As its own source writes it: a bundle's config.json has much besides.
TEST(ForwardFile, GhostVmsConfiguration) {
  const ForwardFile file = read_forward_file(R"({
    "version": 1, "cpus": 4, "memoryBytes": 8589934592, "createdAt": 771234567.5,
    "sharedFolders": [], "isSuspended": false, "macAddress": "5e:00:00:00:00:01",
    "portForwards": [
      {"id": "6F2C1B8E-0000-4000-8000-000000000001", "hostPort": 8080, "guestPort": 80, "enabled": true},
      {"enabled": false, "guestPort": 22, "hostPort": 2222, "id": "6F2C1B8E-0000-4000-8000-000000000002"}
    ]})");
  EXPECT_THAT(file.errors, IsEmpty());
  EXPECT_THAT(identities(file), ElementsAre("tcp:8080:80", "tcp:2222:22"));
  EXPECT_EQ(file.forwards[1].place, "portForwards[1]");
  EXPECT_TRUE(file.forwards[0].definition.enabled);
  EXPECT_FALSE(file.forwards[1].definition.enabled);
}

TEST(ForwardFile, MistakesInJsonAreNamedWithTheirPlace) {
  EXPECT_THAT(read_forward_file(R"({"portForwards": [
        {"hostPort": 70000, "guestPort": 80, "enabled": true},
        {"hostPort": "81", "guestPort": 81, "enabled": true},
        {"guestPort": 82, "enabled": 1}, 7]})")
                  .errors,
              ElementsAre("portForwards[0]: hostPort is 70000; allowed are 1-65535",
                          "portForwards[1]: hostPort is \"81\"; allowed are 1-65535",
                          "portForwards[2]: hostPort is missing",
                          "portForwards[2]: enabled is 1; allowed are true and false",
                          "portForwards[3]: it is 7; allowed are objects"));
  EXPECT_THAT(read_forward_file("{\"cpus\": 4}").errors,
              ElementsAre(HasSubstr("no \"portForwards\"")));
  EXPECT_THAT(read_forward_file("{\"portForwards\": 4}").errors,
              ElementsAre(HasSubstr("an array")));
  EXPECT_THAT(read_forward_file("{\n\"portForwards\": [,\n").errors,
              ElementsAre(HasSubstr("line 2")));
  EXPECT_THAT(read_forward_file("[{\"guest-port\": 80}]").errors,
              ElementsAre("[0]: guest-port is 80; allowed are texts"));
  EXPECT_THAT(read_forward_file("[{\"guest-port\": \"80\", \"x\": \"y\"}]").errors,
              ElementsAre(HasSubstr("[0]: ")));
}

TEST(ForwardFile, OneJsonDocumentIsAll) {
  for (const char* text : {R"([{"guest-port":"80"}]
                              [{"guest-port":"81"}])",
                           R"({"portForwards":[]}
                              {"portForwards":[]})"})
    EXPECT_EQ(read_forward_file(text).errors,
              std::vector<std::string>{"line 2: another document begins; allowed is one"});
}

TEST(ForwardFile, ANameTwiceInAnObjectIsAMistake) {
  EXPECT_THAT(read_forward_file("[{\"guest-port\": \"80\",\n\"guest-port\": \"81\"}]").errors,
              ElementsAre("line 2: \"guest-port\" is twice in one object; leave one of them out"));
  EXPECT_THAT(read_forward_file(R"({"portForwards": [{"hostPort": 1, "guestPort": 1}],
        "portForwards": [{"hostPort": 8080, "guestPort": 80, "hostPort": 8081}]})")
                  .errors,
              ElementsAre(HasSubstr("line 2: \"hostPort\" is twice"),
                          HasSubstr("line 2: \"portForwards\" is twice")));
  EXPECT_THAT(read_forward_file(R"([{"guest-port": "80"}, {"guest-port": "81"}])").errors,
              IsEmpty());
}

// As editors of other systems write it.
TEST(ForwardFile, AByteOrderMarkSaysNothing) {
  for (const char* text : {"8080:80\n", R"([{"guest-port": "80", "host-port": "8080"}])",
                           R"({"portForwards": [{"hostPort": 8080, "guestPort": 80}]})",
                           "<forwards><forward guest-port='80' host-port='8080'/></forwards>"}) {
    const ForwardFile file = read_forward_file("\xef\xbb\xbf" + std::string(text));
    EXPECT_THAT(file.errors, IsEmpty()) << text;
    EXPECT_THAT(identities(file), ElementsAre("tcp:8080:80")) << text;
  }
}

TEST(ForwardFile, ANumberThatIsNoPortIsNamedAsItStandsThere) {
  EXPECT_THAT(read_forward_file(R"({"portForwards": [
        {"hostPort": -1, "guestPort": 80}, {"hostPort": 80.5, "guestPort": 0}]})")
                  .errors,
              ElementsAre("portForwards[0]: hostPort is -1; allowed are 1-65535",
                          "portForwards[1]: hostPort is 80.5; allowed are 1-65535",
                          "portForwards[1]: guestPort is 0; allowed are 1-65535"));
  EXPECT_THAT(
      read_forward_file(R"([{"guest-port": "-1"}, {"guest-port": "99999999999999999999"}])").errors,
      ElementsAre(HasSubstr("[0]: guest-port=\"-1\": allowed are 1-65535"),
                  HasSubstr("[1]: guest-port=\"99999999999999999999\": allowed are 1-65535")));
}

// json-glib makes -1 of the first two, 1 of the third, port 80 of the fourth, and so on.
TEST(ForwardFile, NoNumberIsTakenForAnother) {
  const auto errors = [](const std::string& number) {
    return read_forward_file("{\"portForwards\": [\n{\"guestPort\": 80, \"hostPort\": " + number +
                             "}]}")
        .errors;
  };
  for (const std::string number : {"99999999999999999999", "18446744073709551615",
                                   "-99999999999999999999", "-18446744073709551536"})
    EXPECT_THAT(errors(number),
                ElementsAre("line 2: " + number + " is beyond 64 bits; ports are 1-65535"));
  for (const std::string number : {"0x50", "0100", "080", "-01"})
    EXPECT_THAT(errors(number),
                ElementsAre("line 2: " + number +
                            " is no number of JSON; those are decimal, without a 0 in front"));
  const ForwardFile others = read_forward_file(
      R"({"id": "99999999999999999999", "size": 9223372036854775807, "low": -9223372036854775808,
          "big": 1e30, "exact": 99999999999999999999.5, "zero": [0, 0.5, 0e1], "portForwards": []})");
  EXPECT_THAT(others.errors, IsEmpty());
}

TEST(ForwardFile, XmlGivesForwardsAndSaysWhatItLeavesOut) {
  const ForwardFile file =
      read_forward_file("\n<forwards><forward guest-port='80'/><auto enabled='yes'/></forwards>");
  EXPECT_THAT(file.errors, IsEmpty());
  EXPECT_THAT(identities(file), ElementsAre("tcp:any:80"));
  EXPECT_THAT(file.notes, ElementsAre(HasSubstr("<auto>")));
  EXPECT_THAT(read_forward_file("<forwards>\n<forward guest-port='0'/></forwards>").errors,
              ElementsAre(HasSubstr("line 2")));
}

// Every example of the metadata, and hard ones, in every format and back.
TEST(ForwardFile, WhatIsWrittenIsReadBack) {
  std::vector<ForwardDefinition> all;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(VF_SOURCE_DIR "/xml/examples")) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path());
    const std::string xml{std::istreambuf_iterator<char>(file), {}};
    for (ForwardDefinition& forward : parse_definitions(xml).definitions.forwards) {
      forward.name = "n" + std::to_string(all.size());
      all.push_back(forward);
    }
  }
  const std::vector<std::pair<std::string, std::string>> hard[] = {
      {{"guest-port", "80"}, {"name", "it's \"quoted\" \\ $HOME `x` ;|&<>*?"}},
      {{"guest-port", "80"}, {"name", "schöne Namen, 漢字"}, {"label", "  spaces  "}},
      {{"guest-socket", "/run/with:colon/x=y"}, {"host-socket", "a/b=c:d.sock"}},
      {{"guest-socket", "/run/tcp"}, {"host-port", "80"}, {"host-address", "::1"}},
      {{"guest-port", "80-90"}, {"host-port", "8080-8090"}, {"protocol", "udp"}, {"name", "r"}},
  };
  for (const auto& attributes : hard) {
    const auto definition = parse_forward(attributes);
    ASSERT_TRUE(definition) << definition.error().message;
    all.push_back(*definition);
  }
  ASSERT_GT(all.size(), 15u);
  for (const std::string& text :
       {list_text(all), json_definitions(all), write_definitions({all, {}, {}})}) {
    const ForwardFile file = read_forward_file(text);
    EXPECT_THAT(file.errors, IsEmpty()) << text;
    EXPECT_EQ(definitions(file), all) << text;
  }
  EXPECT_EQ(list_text({}) + json_definitions({}), "[]\n");
}

TEST(ForwardFile, TheListIsWhatAddTakes) {
  const auto one = [](std::vector<std::pair<std::string, std::string>> attributes) {
    return list_text({*parse_forward(attributes)});
  };
  EXPECT_EQ(one({{"guest-port", "80"}, {"host-port", "8080"}}), "8080:80\n");
  EXPECT_EQ(one({{"guest-port", "53"}, {"protocol", "udp"}, {"name", "dns"}}), "53/udp name=dns\n");
  EXPECT_EQ(one({{"guest-port", "80"}, {"host-address", "::1"}}), "[::1]::80\n");
  EXPECT_EQ(one({{"guest-port", "80"}, {"label", "two words"}}), "80 'label=two words'\n");
  EXPECT_EQ(one({{"guest-socket", "/a:b"}}), "guest-socket=/a:b\n");
}

}  // namespace
}  // namespace vf
