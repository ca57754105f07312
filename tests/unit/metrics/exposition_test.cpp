// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/exposition.h"

#include <glib.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <json-glib/json-glib.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "sample.h"

namespace vf {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::IsSubsetOf;
using testing::Not;

std::string content(const std::string& path) {
  std::ifstream file(std::string(VF_SOURCE_DIR) + '/' + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Names as a query may have them: a histogram's are three.
std::set<std::string> names(const std::string& text) {
  std::set<std::string> names;
  const std::regex line("(^|\n)([a-z_]+)[{ ]");
  for (std::sregex_iterator at(text.begin(), text.end(), line), end; at != end; ++at)
    names.insert((*at)[2]);
  return names;
}

TEST(Exposition, IsTheGoldenText) {
  const std::string text = exposition(sample(), Detail::forward, {});
  EXPECT_EQ(text, content("tests/unit/metrics/golden.prom"));
}

TEST(Exposition, OfADaemonThatIsDownIsOneFigure) {
  const std::string text = exposition({}, Detail::domain, {});
  EXPECT_THAT(text, HasSubstr("virt_forward_up 0\n"));
  EXPECT_EQ(names(text), std::set<std::string>{"virt_forward_up"});
}

TEST(Exposition, OfDomainsHasTotals) {
  const std::string text = exposition(sample(), Detail::domain, {{"web", {1, 2, 3, 4}}});
  EXPECT_THAT(text, HasSubstr("virt_forward_connections{domain=\"web\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("virt_forward_connections_accepted_total{domain=\"web\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("virt_forward_bytes_total{domain=\"web\",direction=\"out\"} 4\n"));
  EXPECT_THAT(text, Not(HasSubstr("forward=\"")));
}

TEST(Exposition, OfTheHostNamesNobody) {
  const std::string text = exposition(sample(), Detail::host, {{"", {1, 2, 3, 4}}});
  EXPECT_THAT(text, HasSubstr("virt_forward_detected_ports{state=\"forwarded\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("virt_forward_bytes_total{direction=\"in\"} 3\n"));
  EXPECT_THAT(text, Not(HasSubstr("domain=\"")));
}

// What is unknown is not there, rather than 0.
TEST(Exposition, OfAnOlderDaemonHasNoStatistics) {
  Snapshot snapshot = sample();
  snapshot.statistics = {};
  const std::string text = exposition(snapshot, Detail::forward, {});
  EXPECT_THAT(text, Not(HasSubstr("relay_loop")));
  EXPECT_THAT(text, Not(HasSubstr("relay_connections_refused")));
  EXPECT_THAT(text, HasSubstr("virt_forward_up 1\n"));
}

void find_queries(JsonNode* node, std::vector<std::string>& queries) {
  if (JSON_NODE_HOLDS_ARRAY(node)) {
    JsonArray* const array = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(array); ++i)
      find_queries(json_array_get_element(array, i), queries);
  } else if (JSON_NODE_HOLDS_OBJECT(node)) {
    JsonObjectIter iterator;
    json_object_iter_init(&iterator, json_node_get_object(node));
    const gchar* name = nullptr;
    JsonNode* member = nullptr;
    while (json_object_iter_next(&iterator, &name, &member)) {
      const bool query = g_str_equal(name, "expr") || g_str_equal(name, "definition");
      if (query && JSON_NODE_HOLDS_VALUE(member))
        queries.emplace_back(json_node_get_string(member));
      find_queries(member, queries);
    }
  }
}

TEST(Dashboard, AsksForMetricsThatThereAre) {
  JsonParser* const parser = json_parser_new();
  ASSERT_TRUE(json_parser_load_from_file(parser, VF_SOURCE_DIR "/contrib/grafana/virt-forward.json",
                                         nullptr));
  std::vector<std::string> queries;
  find_queries(json_parser_get_root(parser), queries);
  g_object_unref(parser);
  EXPECT_GT(queries.size(), 10u);

  std::set<std::string> asked;
  const std::regex metric("virt_forward_[a-z_]+");
  for (const std::string& query : queries) {
    std::sregex_iterator at(query.begin(), query.end(), metric), end;
    EXPECT_NE(at, end) << query;
    for (; at != end; ++at)
      asked.insert(at->str());
  }
  std::set<std::string> known = names(exposition(sample(), Detail::forward, {}));
  EXPECT_THAT(asked, IsSubsetOf(known));
  // and leaves out what only says how the reading went
  for (const char* name : {"virt_forward_relay_loop_seconds_sum",
                           "virt_forward_relay_loop_seconds_count", "virt_forward_reading_seconds"})
    known.erase(name);
  EXPECT_THAT(known, IsSubsetOf(asked));
}

// The manual lists every one.
TEST(Manual, NamesEveryMetric) {
  const std::string manual = content("contrib/man/virt-forward-metrics.8.scd");
  const std::string text = exposition(sample(), Detail::forward, {});
  const std::regex type("# TYPE ([a-z_]+) ");
  for (std::sregex_iterator at(text.begin(), text.end(), type), end; at != end; ++at)
    EXPECT_THAT(manual, HasSubstr("*" + std::string((*at)[1]) + "*"));
}

}  // namespace
}  // namespace vf
