// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/json.h"

#include <gtest/gtest.h>
#include <json-glib/json-glib.h>

#include "glib/ref.h"

namespace vf {
namespace {

ForwardView full() {
  ForwardView view;
  view.domain = "web";
  view.uuid = "00000000-0000-4000-8000-000000000001";
  view.id = "site";
  view.definition = "site";
  view.name = "site";
  view.label = "the site";
  view.guest_address = IpAddress::parse("192.168.122.7");
  view.guest_port = Port::from(80);
  view.host_addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  view.host_port = Port::from(8081);
  view.requested_port = Port::from(8080);
  view.url = "http://127.0.0.1:8081";
  view.transport = Transport::tcp;
  view.offload = Offload::redirect;
  view.state = ForwardState::active;
  view.origin = Origin::automatic;
  view.process = ProcessView{"nginx", 812, "nginx: master"};
  return view;
}

TEST(Json, AForwardWithEverythingHasTheFrozenKeysInTheirOrder) {
  EXPECT_EQ(json_forward({full(), ForwardCounters{2, 4096, 8192}}),
            R"({"domain":"web","uuid":"00000000-0000-4000-8000-000000000001","id":"site",)"
            R"("name":"site","label":"the site","protocol":"tcp",)"
            R"("guest":{"address":"192.168.122.7","port":80},)"
            R"("host":{"addresses":["127.0.0.1","::1"],"port":8081,"requested-port":8080},)"
            R"("url":"http://127.0.0.1:8081","transport":"tcp","offload":"redirect",)"
            R"("state":"active","origin":"auto",)"
            R"("process":{"name":"nginx","pid":812,"command":"nginx: master"},)"
            R"("connections":2,"bytes":{"in":4096,"out":8192}})");
}

TEST(Json, WhatIsUnknownHasNoKey) {
  ForwardView view;
  view.domain = "db";
  view.uuid = "00000000-0000-4000-8000-000000000002";
  view.id = "tcp:pg.sock:5432";
  view.guest_socket = "/run/pg.sock";
  view.host_socket = "db/pg.sock";
  view.state = ForwardState::failed;
  view.reason = "unix sockets are not served yet";
  EXPECT_EQ(json_forward({view, std::nullopt}),
            R"({"domain":"db","uuid":"00000000-0000-4000-8000-000000000002",)"
            R"("id":"tcp:pg.sock:5432","protocol":"tcp","guest":{"socket":"/run/pg.sock"},)"
            R"("host":{"socket":"db/pg.sock"},"state":"failed",)"
            R"("reason":"unix sockets are not served yet","origin":"metadata"})");
}

TEST(Json, AKnownCountOfNothingIsThere) {
  const std::string json = json_forward({full(), ForwardCounters{}});
  EXPECT_NE(json.find(R"("connections":0,"bytes":{"in":0,"out":0}})"), std::string::npos) << json;
}

TEST(Json, AnEventCarriesItsForward) {
  const std::string json = json_event("changed", full());
  EXPECT_TRUE(json.starts_with(R"({"event":"changed","forward":{"domain":"web",)")) << json;
  EXPECT_EQ(json.find('\n'), std::string::npos);
}

TEST(Json, AnArrayHasAForwardALine) {
  EXPECT_EQ(json_forwards({}), "[]\n");
  const std::string one = json_forward({full(), std::nullopt});
  EXPECT_EQ(json_forwards({{full(), std::nullopt}, {full(), std::nullopt}}),
            "[\n" + one + ",\n" + one + "\n]\n");
}

// C0, DEL, C1 and characters that reorder a line: a terminal that shows the JSON acts on none, and
// a reader gets them back.
TEST(Json, WhatATerminalWouldActOnIsEscapedAndReadBack) {
  ForwardView view = full();
  view.label =
      "a\x1b[31m\x7f\xc2\x9b"
      "b\n\xe2\x80\xae\xf0\x9f\x90\xa7\"\\";
  const std::string json = json_forward({view, std::nullopt});
  for (const char* acted_on : {"\x1b", "\x7f", "\xc2\x9b", "\n", "\xe2\x80\xae"})
    EXPECT_EQ(json.find(acted_on), std::string::npos) << json;
  EXPECT_NE(json.find("\xf0\x9f\x90\xa7"), std::string::npos) << json;

  const auto parser = adopt(json_parser_new());
  ASSERT_TRUE(json_parser_load_from_data(parser.get(), json.c_str(), -1, nullptr)) << json;
  JsonObject* object = json_node_get_object(json_parser_get_root(parser.get()));
  EXPECT_EQ(json_object_get_string_member(object, "label"), view.label);
}

}  // namespace
}  // namespace vf
