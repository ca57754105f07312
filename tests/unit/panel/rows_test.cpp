// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "glib/object_path.h"
#include "panel/row_list.h"
#include "panel/words.h"

namespace vf::panel {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

DomainView domain(const std::string& name, bool active = true) {
  DomainView view;
  view.name = name;
  view.uuid = "uuid-" + name;
  if (active) view.id = 7;
  view.active = active;
  return view;
}

ForwardView forward(const std::string& of, unsigned host, unsigned guest) {
  ForwardView view;
  view.uuid = "uuid-" + of;
  view.id = "tcp:" + std::to_string(host) + ':' + std::to_string(guest);
  view.host_port = Port::from(host);
  view.guest_port = Port::from(guest);
  view.state = ForwardState::active;
  view.live = true;
  return view;
}

PortView port(const std::string& of, unsigned number, const std::string& forward_id = {}) {
  PortView view;
  view.uuid = "uuid-" + of;
  view.id = "tcp:" + std::to_string(number);
  view.port = Port::from(number);
  view.forward = forward_id;
  view.process = ProcessView{"node", 1, "node"};
  view.addresses = {IpAddress::loopback4()};
  return view;
}

std::vector<std::string> keys(const std::vector<Row>& rows) {
  std::vector<std::string> list;
  for (const Row& row : rows)
    list.push_back(row.key);
  return list;
}

class PanelRows : public testing::Test {
 protected:
  PanelRows() {
    inventory.domains = {{"/b", domain("b")}, {"/a", domain("a")}, {"/off", domain("off", false)}};
    inventory.forwards = {{"/f1", forward("b", 9000, 90)},
                          {"/f2", forward("b", 8080, 80)},
                          {"/f3", forward("off", 8081, 80)}};
    inventory.ports = {{"/p1", port("b", 80, "tcp:8080:80")}, {"/p2", port("b", 53)}};
  }
  std::vector<Row> all(const Filter& filter = {}) { return rows({&inventory}, filter); }
  Inventory inventory;
};

TEST_F(PanelRows, AreRunningDomainsByNameWithForwardsByHostPort) {
  EXPECT_THAT(keys(all()), ElementsAre("domain 0 /a", "empty 0 /a", "domain 0 /b", "forward 0 /f2",
                                       "forward 0 /f1", "port 0 /p2"));
}

TEST_F(PanelRows, StayWhereTheyAreWhenTheyAreDisabled) {
  const auto before = keys(all());
  ForwardView& disabled = inventory.forwards.at("/f1");
  disabled.state = ForwardState::disabled;
  disabled.requested_port = std::exchange(disabled.host_port, std::nullopt);
  EXPECT_EQ(keys(all()), before);
}

TEST_F(PanelRows, TellOfAForwardWhatItsPortKnows) {
  const auto shown = all();
  const auto& row = std::get<ForwardRow>(shown[3].content);
  EXPECT_THAT(row.bound, ElementsAre(IpAddress::loopback4()));
  EXPECT_EQ(row.forward.process->name, "node");
  EXPECT_FALSE(row.counters);
}

TEST_F(PanelRows, OfOneDomainByNameIdOrUuid) {
  for (const char* name : {"b", "uuid-b"})
    EXPECT_EQ(all({name, {}}).size(), 4u) << name;
  EXPECT_THAT(all({"off", {}}), IsEmpty());
}

TEST_F(PanelRows, AreFoundByWhatTheySay) {
  EXPECT_THAT(keys(all({{}, "9000"})), ElementsAre("domain 0 /b", "forward 0 /f1"));
  EXPECT_THAT(keys(all({{}, "NODE"})), ElementsAre("domain 0 /b", "forward 0 /f2", "port 0 /p2"));
  EXPECT_THAT(all({{}, "nobody says this"}), IsEmpty());
}

TEST_F(PanelRows, AreOfADaemonWithAName) {
  const auto named = rows({&inventory}, {}, {"System"});
  EXPECT_EQ(std::get<DomainRow>(named[0].content).daemon, "System");
  EXPECT_EQ(std::get<DomainRow>(all()[0].content).daemon, "");
}

TEST_F(PanelRows, KnowWhatWasAllowed) {
  PortView& port = inventory.ports["/p1"];
  port.state = DetectedState::forwarded;
  const auto allowed = [this] { return std::get<ForwardRow>(all()[3].content).allowed; };
  EXPECT_FALSE(allowed());
  port.rule_text = "<rule guest-port=\"80\" marked=\"yes\"/>";
  EXPECT_TRUE(allowed());
}

TEST_F(PanelRows, OfAPortAreTheSameWhetherItIsForwardedOrNot) {
  ForwardView automatic = forward("b", 3000, 3000);
  automatic.id = "auto:tcp:3000";
  automatic.origin = Origin::automatic;
  automatic.uuid = "6f1e4c9e-6c9d-4b44-9e0c-2f3b3e7c9d10";
  inventory.domains["/b"].uuid = automatic.uuid;
  const std::string path = port_path(automatic.uuid, "tcp:3000");
  inventory.forwards = {{"/f3", automatic}};
  inventory.ports = {{path, port("b", 3000, automatic.id)}};
  inventory.ports[path].uuid = automatic.uuid;
  const auto served = all({"b", {}});
  ASSERT_EQ(served.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<ForwardRow>(served[1].content));
  EXPECT_EQ(served[1].path, "/f3");
  inventory.forwards.clear();
  inventory.ports[path].forward.clear();
  const auto blocked = all({"b", {}});
  ASSERT_EQ(blocked.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<PortRow>(blocked[1].content));
  EXPECT_EQ(served[1].key, blocked[1].key);
}

TEST_F(PanelRows, SayTheReasonOfSeveralOnce) {
  for (const char* path : {"/p2", "/p3", "/p4"}) {
    PortView& one = inventory.ports[path];
    if (one.id.empty()) one = port("b", path == std::string("/p3") ? 54 : 55);
    one.state = DetectedState::ignored;
    one.reason = "automatic forwarding is off";
  }
  inventory.ports["/p4"].reason = "a rule ignores it";
  inventory.forwards["/f1"].state = ForwardState::waiting;
  inventory.forwards["/f1"].reason = "automatic forwarding is off";  // in another state
  const auto shown = all({"b", {}});
  EXPECT_THAT(keys(shown), ElementsAre("domain 0 /b", "reason0 0 /b", "forward 0 /f2",
                                       "forward 0 /f1", "port 0 /p2", "port 0 /p3", "port 0 /p4"));
  const auto& note = std::get<NoteRow>(shown[1].content);
  EXPECT_EQ(note.kind, NoteRow::Kind::reason);
  EXPECT_EQ(note.text, "Not forwarded: automatic forwarding is off");
  EXPECT_EQ(std::get<PortRow>(shown[4].content).port.reason, "");
  EXPECT_EQ(std::get<PortRow>(shown[5].content).port.reason, "");
  EXPECT_EQ(std::get<PortRow>(shown[6].content).port.reason, "a rule ignores it");
  EXPECT_EQ(std::get<ForwardRow>(shown[3].content).forward.reason, "automatic forwarding is off");
  // One of them alone says it itself.
  const auto found = all({"b", "55"});
  EXPECT_THAT(keys(found), ElementsAre("domain 0 /b", "port 0 /p4"));
  EXPECT_THAT(keys(all({"b", "54"})), ElementsAre("domain 0 /b", "port 0 /p3"));
  EXPECT_THAT(all({"b", "nobody says this"}), IsEmpty());
}

TEST_F(PanelRows, APausedDomainIsSaidOnceAndIsNoError) {
  const std::string paused = "the domain is paused: it answers when it is resumed";
  ForwardView& first = inventory.forwards["/f1"];
  ForwardView& second = inventory.forwards["/f2"];
  first.state = second.state = ForwardState::active;
  first.proven = true;
  first.reason = paused;
  EXPECT_EQ(trouble(first), paused);
  EXPECT_STREQ(style(first), "dim-label");
  EXPECT_EQ(trouble(second), "");
  second.reason = paused;
  const auto shown = all({"b", {}});
  const auto& note = std::get<NoteRow>(shown[1].content);
  EXPECT_EQ(note.kind, NoteRow::Kind::reason);
  EXPECT_EQ(note.text, paused);
  EXPECT_EQ(trouble(std::get<ForwardRow>(shown[2].content).forward), "");
  EXPECT_EQ(trouble(std::get<ForwardRow>(shown[3].content).forward), "");
}

TEST_F(PanelRows, ReasonsComeAfterProblems) {
  inventory.domains["/b"].problems = {"line 1"};
  for (const char* path : {"/p2", "/p3"}) {
    inventory.ports[path] = port("b", path == std::string("/p2") ? 53 : 54);
    inventory.ports[path].reason = "no";
  }
  const auto shown = keys(all({"b", {}}));
  EXPECT_THAT(std::vector(shown.begin(), shown.begin() + 3),
              ElementsAre("domain 0 /b", "note0 0 /b", "reason0 0 /b"));
}

TEST_F(PanelRows, CountInTheListAsTheyAre) {
  RowList list;
  list.update(all());
  const auto counters = [&list](const char* key) {
    return std::get<ForwardRow>(vf_row_item_row(list.find(key)).content).counters;
  };
  VfRowItem* const item = list.find("forward 0 /f1");
  list.count(0, {{"/f1", {.connections = 3}}});
  EXPECT_EQ(counters("forward 0 /f1")->connections, 3u);
  EXPECT_EQ(list.find("forward 0 /f1"), item);
  EXPECT_FALSE(counters("forward 0 /f2"));
  list.count(1, {{"/f1", {.connections = 4}}});
  EXPECT_EQ(counters("forward 0 /f1")->connections, 3u);
  list.count(0, {});
  EXPECT_FALSE(counters("forward 0 /f1"));  // nobody can say: absent, not 0
}

// --- the list

std::vector<Row> numbered(std::initializer_list<int> numbers) {
  std::vector<Row> rows;
  for (const int number : numbers)
    rows.push_back({std::to_string(number), 0, {}, {}, NoteRow{}});
  return rows;
}

// What the list says of its changes, in the words of g_list_model's signal.
class PanelRowList : public testing::Test {
 protected:
  PanelRowList() {
    g_signal_connect(
        list.model(), "items-changed",
        G_CALLBACK(+[](GListModel*, guint, guint gone, guint come, PanelRowList* self) {
          self->removed += gone;
          self->added += come;
        }),
        this);
  }
  void update(std::initializer_list<int> numbers) {
    removed = added = 0;
    list.update(numbered(numbers));
    std::vector<std::string> wanted = keys(numbered(numbers));
    std::vector<std::string> there;
    for (guint i = 0; i < g_list_model_get_n_items(list.model()); ++i) {
      const auto item = adopt(VF_ROW_ITEM(g_list_model_get_item(list.model(), i)));
      there.push_back(vf_row_item_row(item.get()).key);
      EXPECT_EQ(list.find(there.back()), item.get());
    }
    EXPECT_EQ(there, wanted);
  }
  guint removed = 0;
  guint added = 0;
  RowList list;
};

TEST_F(PanelRowList, ChangesWhatDiffersAlone) {
  update({1, 2, 3, 4, 5});
  EXPECT_EQ(added, 5u);
  update({1, 3, 4, 5, 6});
  EXPECT_EQ(removed, 1u);
  EXPECT_EQ(added, 1u);
  update({1, 3, 4, 5, 6});
  EXPECT_EQ(removed + added, 0u);
  update({});
  EXPECT_EQ(removed, 5u);
}

TEST_F(PanelRowList, MovesOneByItself) {
  update({1, 2, 3, 4, 5, 6});
  update({6, 1, 2, 3, 4, 5});
  EXPECT_EQ(removed, 1u);
  EXPECT_EQ(added, 1u);
  update({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(removed, 1u);
  EXPECT_EQ(added, 1u);
  VfRowItem* const moved = list.find("6");
  update({6, 1, 2, 3, 4, 5});
  EXPECT_EQ(list.find("6"), moved);
  update({6, 5, 4, 3, 2, 1});
  update({3, 1, 9, 6});
}

TEST_F(PanelRowList, TellsAnItemOfItsNewContent) {
  list.update(numbered({1, 2}));
  int told = 0;
  g_signal_connect(list.find("2"), "changed", G_CALLBACK(+[](VfRowItem*, int* count) { ++*count; }),
                   &told);
  list.update(numbered({1, 2}));
  EXPECT_EQ(told, 0);
  auto changed = numbered({1, 2});
  std::get<NoteRow>(changed[1].content).text = "new";
  list.update(std::move(changed));
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace vf::panel
