// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/json.h"
#include "glib/ref.h"
#include "program_lab.h"

namespace vf {
namespace {

class List : public ProgramLab {
 protected:
  List() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(fake_domain(uuid2, "db"));
    daemon_.model.add(fake_forward());
  }
  ForwardView waiting(const std::string& uuid = uuid2) {
    ForwardView view = fake_forward("ssh", uuid);
    view.domain = "db";
    view.name = "ssh";
    view.guest_port = Port::from(22);
    view.host_port = view.requested_port = Port::from(2222);
    view.url = "127.0.0.1:2222";
    view.transport.reset();
    view.state = ForwardState::waiting;
    view.reason = "the guest has no address yet";
    return view;
  }
  // In a terminal of 80 columns.
  std::string in_terminal(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment = {}) {
    std::string line;
    for (const std::string& word : command(arguments, environment))
      line += take_string(g_shell_quote(word.c_str())) + ' ';
    return run_program({"/usr/bin/script", "-qefc", line, "/dev/null"}).out;
  }
};

TEST_F(List, PipedIsPlainAndAligned) {
  daemon_.model.add(waiting());
  const ProgramResult result = run({"list"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(
      result.out,
      "DOMAIN  NAME  URL                    GUEST  WAY  STATE\n"
      "db      ssh   127.0.0.1:2222         22     -    waiting  the guest has no address yet\n"
      "web     -     http://127.0.0.1:8080  80     tcp  active\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(List, ATerminalHasColourAndReasonsBelow) {
  daemon_.model.add(waiting());
  const std::string out = in_terminal({"--address", daemon_.address, "list"}, {"TERM=xterm"});
  EXPECT_NE(out.find("\x1b[32mactive\x1b[0m"), std::string::npos) << out;
  EXPECT_NE(out.find("\x1b[33mwaiting\x1b[0m\r\n    \x1b[2mthe guest has no address yet"),
            std::string::npos)
      << out;
}

TEST_F(List, ColourIsAsAskedFor) {
  const std::string address = daemon_.address;
  EXPECT_EQ(in_terminal({"--address", address, "list"}, {"TERM=xterm", "NO_COLOR=1"}).find('\x1b'),
            std::string::npos);
  EXPECT_EQ(in_terminal({"--address", address, "list"}, {"TERM=dumb"}).find('\x1b'),
            std::string::npos);
  EXPECT_EQ(
      in_terminal({"--address", address, "list", "--color=never"}, {"TERM=xterm"}).find('\x1b'),
      std::string::npos);
  EXPECT_NE(run({"list", "--color=always"}, {"NO_COLOR=1"}).out.find('\x1b'), std::string::npos);
}

TEST_F(List, AllShowsStoppedDomainsAndDifferences) {
  DomainView stopped{"00000000-0000-4000-8000-000000000003", "old", {}, false, true, {}};
  daemon_.model.add(stopped);
  ForwardView off = fake_forward("tcp:9000:90", stopped.uuid);
  off.domain = "old";
  off.guest_port = Port::from(90);
  off.host_port.reset();
  off.requested_port = Port::from(9000);
  off.url.clear();
  off.transport.reset();
  off.state = ForwardState::inactive;
  off.reason = "the domain is off";
  off.live = false;
  off.config = true;
  daemon_.model.add(off);
  ForwardView next = off;
  next.domain = "web";
  next.uuid = uuid1;
  daemon_.model.add(next);

  next.id = next.definition = "next";
  next.requested_port = Port::from(9001);
  next.state = ForwardState::disabled;
  daemon_.model.add(next);

  const std::string some = run({"list"}).out;
  EXPECT_EQ(some.find("900"), std::string::npos) << some;
  const std::string all = run({"list", "--all"}).out;
  EXPECT_NE(all.find("old     -     -                      90     -    inactive               the "
                     "domain is off"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("active, live only"), std::string::npos) << all;
  EXPECT_NE(all.find("inactive, config only"), std::string::npos) << all;

  const ProgramResult named = run({"list", "old"});
  EXPECT_EQ(named.status, 0);
  EXPECT_NE(named.err.find("\"old\" does not run; --all shows"), std::string::npos) << named.err;
}

TEST_F(List, WhatIsOnlyDefinedIsShownWhereItWouldBe) {
  daemon_.model.remove(fake_forward());
  daemon_.model.add(DomainView{uuid2, "db", {}, false, true, {}});
  daemon_.controller.element_of = [](const EditScope& scope) {
    return scope.live ? "<forwards><forward guest-port='80' host-port='8080' enabled='no' "
                        "host-address='192.0.2.1'/></forwards>"
                      : "<forwards><forward name='site' guest-port='81-82' host-port='8081-8082' "
                        "scheme='https'/><forward guest-port='53' host-port='5353' "
                        "protocol='udp'/><forward guest-port='90'/></forwards>";
  };
  const auto defined = [&](const char* id, const char* definition, unsigned guest, unsigned host) {
    ForwardView view = fake_forward(id, uuid2);
    view.domain = "db";
    view.definition = definition;
    view.guest_port = Port::from(guest);
    view.requested_port = Port::from(host);
    view.host_port.reset();
    view.host_addresses.clear();
    view.url.clear();
    view.transport.reset();
    view.state = ForwardState::inactive;
    view.live = false;
    view.config = true;
    return view;
  };
  daemon_.model.add(defined("site#81", "site", 81, 8081));
  daemon_.model.add(defined("site#82", "site", 82, 8082));
  ForwardView udp = defined("udp:5353:53", "udp:5353:53", 53, 5353);
  udp.protocol = Protocol::udp;
  daemon_.model.add(udp);
  ForwardView any = defined("tcp:any:90", "tcp:any:90", 90, 0);
  any.requested_port.reset();
  daemon_.model.add(any);
  ForwardView disabled = defined("tcp:192.0.2.1=8080:80", "tcp:192.0.2.1=8080:80", 80, 8080);
  disabled.domain = "web";
  disabled.uuid = uuid1;
  disabled.state = ForwardState::disabled;
  disabled.live = true;
  disabled.config = false;
  daemon_.model.add(disabled);
  ForwardView busy = disabled;  // another program answers there
  busy.id = busy.definition = "tcp:8088:88";
  busy.guest_port = Port::from(88);
  busy.requested_port = Port::from(8088);
  busy.state = ForwardState::port_busy;
  busy.reason = "8088 is taken";
  daemon_.model.add(busy);
  EXPECT_EQ(run({"list", "--all"}).out,
            "DOMAIN  NAME  URL                     GUEST   WAY  STATE\n"
            "db      -     -                       90      -    inactive\n"
            "db      -     127.0.0.1:5353          53/udp  -    inactive\n"
            "db      -     https://127.0.0.1:8081  81      -    inactive\n"
            "db      -     https://127.0.0.1:8082  82      -    inactive\n"
            "web     -     http://192.0.2.1:8080   80      -    disabled, live only\n"
            "web     -     -                       88      -    port-busy, live only  8088 is "
            "taken\n");
}

TEST_F(List, SaysWhenOnlyTheNextStartHasForwards) {
  ForwardView next = fake_forward("next", uuid2);
  next.domain = "db";
  next.live = false;
  next.config = true;
  next.state = ForwardState::inactive;
  next.reason = "not in the running domain";
  daemon_.model.add(next);
  EXPECT_EQ(run({"list", "db"}).err,
            "virt-forward: config only: 1 forward at the next start of \"db\"; --all shows it\n");
  EXPECT_EQ(run({"list", "db", "--all"}).err, "");
  next.uuid = uuid1;
  next.domain = "web";
  daemon_.model.add(next);
  EXPECT_EQ(run({"list", "web"}).err, "");  // what it shows is not all, and no empty table
  EXPECT_EQ(run({"list"}).err, "");
}

TEST_F(List, JsonHasTheFrozenShapeWithCounters) {
  daemon_.controller.all_counted =
      std::vector<Controller::Counted>{{uuid1, "tcp:8080:80", {2, 300, 4000}}};
  const ProgramResult result = run({"list", "--json"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out,
            "[\n{\"domain\":\"web\",\"uuid\":\"00000000-0000-4000-8000-000000000001\","
            "\"id\":\"tcp:8080:80\",\"protocol\":\"tcp\",\"guest\":{\"port\":80},"
            "\"host\":{\"addresses\":[\"127.0.0.1\",\"::1\"],\"port\":8080,"
            "\"requested-port\":8080},\"url\":\"http://127.0.0.1:8080\",\"transport\":\"tcp\","
            "\"offload\":\"none\",\"state\":\"active\",\"origin\":\"metadata\","
            "\"connections\":2,\"bytes\":{\"in\":300,\"out\":4000}}\n]\n");
}

TEST_F(List, NoForwardsIsAnEmptyArray) {
  daemon_.model.remove(fake_forward());
  EXPECT_EQ(run({"list", "--json"}).out, "[]\n");
  EXPECT_EQ(run({"list"}).status, 0);
}

TEST_F(List, ADomainByNameIdAndUuid) {
  daemon_.model.add(waiting());
  for (const char* domain : {"db", uuid2}) {
    const std::string out = run({"list", domain}).out;
    EXPECT_NE(out.find("ssh"), std::string::npos) << out;
    EXPECT_EQ(out.find("8080"), std::string::npos) << out;
  }
  EXPECT_EQ(run({"list", "7"}).status, 0);
  EXPECT_EQ(run({"list", "nobody"}).status, 3);
}

TEST_F(List, ProblemsOfTheMetadataAreSaid) {
  DomainView bad = fake_domain();
  bad.problems = {"line 3: <forward> host-port=\"99999\""};
  daemon_.model.change(bad);
  const ProgramResult result = run({"list", "--json"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.err, "virt-forward: \"web\": line 3: <forward> host-port=\"99999\"\n");
}

TEST_F(List, HostileNamesAreShownHarmless) {
  const std::string names[] = {"a b",
                               "quote\"'`",
                               "$(reboot)",
                               "\x1b]0;owned\x07",
                               "line\nbreak",
                               "\xe2\x80\xae"
                               "evil",
                               "日本語",
                               std::string(255, 'x')};
  unsigned number = 10;
  for (const std::string& name : names) {
    const std::string uuid = "00000000-0000-4000-8000-0000000000" + std::to_string(number++);
    daemon_.model.add(DomainView{uuid, name, static_cast<int>(number), true, true, {name}});
    ForwardView view = fake_forward(name, uuid);
    view.domain = name;
    view.name = view.label = name;
    view.reason = name;
    view.state = ForwardState::failed;
    daemon_.model.add(view);
  }
  const std::vector<std::vector<std::string>> verbs{
      {"list"}, {"list", "--json"}, {"list", "\x1b]0;owned\x07"}, {"url", "line\nbreak"}};
  for (const auto& verb : verbs) {
    const ProgramResult result = run(verb);
    EXPECT_EQ(result.status, 0) << result.err;
    for (const char* acted_on : {"\x1b", "\x07", "\xe2\x80\xae"}) {
      EXPECT_EQ(result.out.find(acted_on), std::string::npos) << verb.back();
      EXPECT_EQ(result.err.find(acted_on), std::string::npos) << verb.back();
    }
  }
  const std::string table = run({"list"}).out;
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 10) << table;
  EXPECT_EQ(run({"remove", "\x1b]0;owned\x07", "\x1b]0;owned\x07"}).status, 0);
}

TEST_F(List, ADaemonWithoutLibvirtOrRelayIsSaid) {
  daemon_.model.relay = false;
  const ProgramResult result = run({"list"});
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.err.find("has no relay at present"), std::string::npos) << result.err;
}

TEST_F(List, AReaderThatLeftIsNoError) {
  std::string line;
  for (const std::string& word : command({"--address", daemon_.address, "list"}))
    line += ' ' + take_string(g_shell_quote(word.c_str()));
  const ProgramResult result =
      run_program({"/bin/bash", "-c", "exec 3> >(:); wait $!; exec" + line + " >&3"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.err, "");
}

TEST_F(List, AFullDiskIsAnError) {
  std::vector<std::string> words = command({"--address", daemon_.address, "list"});
  std::string line = "exec";
  for (const std::string& word : words)
    line += ' ' + take_string(g_shell_quote(word.c_str()));
  const ProgramResult result = run_program({"/bin/sh", "-c", line + " > /dev/full"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("cannot write the output: No space left"), std::string::npos)
      << result.err;
}

}  // namespace
}  // namespace vf
