// SPDX-License-Identifier: LGPL-2.1-or-later

#include "glib/source.h"
#include "program_lab.h"

namespace vf {
namespace {

class Add : public ProgramLab {
 protected:
  Add() { daemon_.model.add(fake_domain()); }

  // The daemon answers with this forward and shows it.
  void answer(const ForwardView& view) {
    daemon_.model.add(view);
    daemon_.controller.added = std::vector{view};
  }
};

std::string text_of(const ForwardAttributes& attributes) {
  std::map<std::string, std::string> sorted(attributes.begin(), attributes.end());
  std::string text;
  for (const auto& [name, value] : sorted)
    text += name + '=' + value + ' ';
  return text;
}

TEST_F(Add, PrintsThePortAloneAndSaysThatItPasses) {
  answer(fake_forward());
  const ProgramResult result = run({"add", "web", "8080:80"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "8080\n");
  EXPECT_EQ(result.err,
            "virt-forward: gone at the next start of \"web\"; the same with --config makes it last "
            "(--persistent: both at once)\n");
  ASSERT_EQ(daemon_.controller.asked.size(), 2u);  // behind the metadata
  const auto& asked = daemon_.controller.asked.back();
  EXPECT_EQ(asked.uuid, uuid1);
  EXPECT_EQ(text_of(asked.attributes), "guest-port=80 host-port=8080 ");
  EXPECT_FALSE(asked.scope.live || asked.scope.config || asked.scope.persistent);
}

TEST_F(Add, WhatTheNextStartHasAlreadyDoesNotPass) {
  ForwardView view = fake_forward();
  view.config = true;
  answer(view);
  EXPECT_EQ(run({"add", "web", "8080:80", "--live"}).err, "");
}

TEST_F(Add, PersistentAddsWhereTheSameDefinitionIsMissing) {
  answer(fake_forward());
  const auto scope_after = [&](const char* live, const char* config,
                               const std::vector<std::string>& more) {
    daemon_.controller.asked.clear();
    daemon_.controller.element_of = [=](const EditScope& scope) {
      return std::string(scope.live ? live : config);
    };
    std::vector<std::string> words{"add", "web", "8080:80"};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult result = run(words);
    EXPECT_EQ(result.out, "8080\n") << result.err;
    const EditScope scope = daemon_.controller.asked.back().scope;
    return std::string(scope.live ? "live " : "") + (scope.config ? "config " : "") +
           (scope.persistent ? "persistent" : "");
  };
  const char* const same = "<forwards><forward guest-port='80' host-port='8080'/></forwards>";
  const char* const other =
      "<forwards><forward guest-port='80' host-port='8080' scheme='https'/></forwards>";
  EXPECT_EQ(scope_after(same, "", {"--persistent"}), "config ");
  EXPECT_EQ(scope_after("", same, {"--persistent"}), "live ");
  EXPECT_EQ(scope_after(same, "", {"--live", "--config"}), "config ");
  EXPECT_EQ(scope_after("", "", {"--persistent"}), "persistent");
  EXPECT_EQ(scope_after(same, same, {"--persistent"}), "persistent");
  EXPECT_EQ(scope_after(other, "", {"--persistent"}), "persistent");
  EXPECT_EQ(scope_after(same, "", {"--live"}), "live ");
}

TEST_F(Add, ARangeThatIsTakenIsOneLine) {
  std::vector<ForwardView> views;
  for (const unsigned port : {8080u, 8081u, 8082u}) {
    ForwardView view = fake_forward("games#" + std::to_string(port - 80));
    view.requested_port = Port::from(port);
    view.host_port = Port::from(port + 1);
    daemon_.model.add(view);
    views.push_back(view);
  }
  daemon_.controller.added = views;
  EXPECT_EQ(run({"add", "web", "8080-8082:8000-8002", "--persistent"}).err,
            "virt-forward: 8080-8082 is not free; using 8081-8083\n");
  EXPECT_EQ(run({"add", "web", "8080-8082:8000-8002", "--dry-run"}).err,
            "virt-forward: 8080-8082 is not free; it would be 8081-8083\n");
  views[1].host_port = views[1].requested_port;
  daemon_.controller.added = views;
  EXPECT_EQ(run({"add", "web", "8080-8082:8000-8002", "--persistent"}).err,
            "virt-forward: 8080 is taken; using 8081\nvirt-forward: 8082 is taken; using 8083\n");
}

TEST_F(Add, ConfigAloneTellsOfItsOwnDefinition) {
  answer(fake_forward());  // the live one of that name
  const ProgramResult port = run({"add", "web", "8100:80", "--name=rr", "--config"});
  EXPECT_EQ(port.out, "");
  EXPECT_EQ(port.err,
            "virt-forward: stored; port 8100, or the next free one, is bound at the next start of "
            "\"web\"\n");
  EXPECT_EQ(run({"add", "web", "80", "--config"}).err,
            "virt-forward: stored; a free port is bound at the next start of \"web\"\n");
  EXPECT_EQ(run({"add", "web", "8100-8102:80-82", "--config"}).err,
            "virt-forward: stored; ports 8100-8102, or the next free ones, are bound at the next "
            "start of \"web\"\n");
}

TEST_F(Add, SaysWhenThePortIsAnother) {
  ForwardView view = fake_forward();
  view.host_port = Port::from(8081);
  answer(view);
  const ProgramResult result = run({"add", "web", "8080:80", "--persistent"});
  EXPECT_EQ(result.out, "8081\n");
  EXPECT_EQ(result.err, "virt-forward: 8080 is taken; using 8081\n");
  EXPECT_TRUE(daemon_.controller.asked.back().scope.persistent);
}

TEST_F(Add, OfABlockedPortSaysThatTheBlockStays) {
  answer(fake_forward());
  daemon_.controller.element_of = [](const EditScope& scope) {
    return std::string(
        scope.live ? "<forwards><auto enabled='policy'><rule action='block' marked='yes' "
                     "guest-port='80-81'/><rule action='block' guest-port='90'/></auto></forwards>"
                   : "<forwards><auto><rule action='block' marked='yes' protocol='udp' "
                     "guest-port='53'/></auto></forwards>");
  };
  const auto said = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"add", "web"};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult result = run(words);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.err;
  };
  const std::string of_80 =
      "virt-forward: 80-81 stays blocked for what the guest opens by itself (virt-forward unblock "
      "web 80-81 lifts that); this forward is served all the same\n";
  EXPECT_EQ(said({"8080:80", "--persistent"}), of_80);
  EXPECT_EQ(said({"8079-8080:79-80", "--persistent", "--dry-run"}), of_80);
  EXPECT_EQ(said({"8080:80/udp", "--persistent"}), "");
  EXPECT_EQ(said({"8080:82", "--persistent"}), "");
  EXPECT_EQ(said({"8080:90", "--persistent"}), "") << "a rule that somebody wrote";
  EXPECT_EQ(said({"53/udp", "--config"}),
            "virt-forward: 53/udp stays blocked for what the guest opens by itself (virt-forward "
            "unblock web 53/udp lifts that); this forward is served all the same\n"
            "virt-forward: stored; a free port is bound at the next start of \"web\"\n");
  EXPECT_EQ(said({"53", "--config"}),
            "virt-forward: stored; a free port is bound at the next start of \"web\"\n");
}

TEST_F(Add, ATransientDomainHasNoNextStart) {
  DomainView transient = fake_domain();
  transient.persistent = false;
  daemon_.model.change(transient);
  answer(fake_forward());
  EXPECT_EQ(run({"add", "web", "8080:80"}).err, "");
}

TEST_F(Add, ARangePrintsAPortALine) {
  ForwardView one = fake_forward("games#8000");
  ForwardView two = fake_forward("games#8001");
  two.host_port = two.requested_port = Port::from(8081);
  daemon_.model.add(one);
  daemon_.model.add(two);
  daemon_.controller.added = std::vector{one, two};
  EXPECT_EQ(run({"add", "web", "8080-8081:8000-8001", "--name", "games"}).out, "8080\n8081\n");
}

TEST_F(Add, EveryOptionIsAnAttribute) {
  answer(fake_forward());
  const ProgramResult result = run({"add",
                                    "web",
                                    "8080:80",
                                    "--name=site",
                                    "--label",
                                    "the site",
                                    "--host-address=127.0.0.2",
                                    "--guest-address=10.0.0.7",
                                    "--protocol=tcp",
                                    "--transport=vsock",
                                    "--offload=none",
                                    "--on-busy=fail",
                                    "--scheme=http",
                                    "--proxy-protocol=v2",
                                    "--idle-timeout=60",
                                    "--max-connections=5",
                                    "--required",
                                    "--disabled",
                                    "--live",
                                    "--config"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(daemon_.controller.asked.back().forward, "");
  const auto& asked = daemon_.controller.asked.back();
  EXPECT_EQ(text_of(asked.attributes),
            "enabled=no guest-address=10.0.0.7 guest-port=80 host-address=127.0.0.2 host-port=8080 "
            "idle-timeout=60 label=the site max-connections=5 name=site offload=none on-busy=fail "
            "protocol=tcp proxy-protocol=v2 required=yes scheme=http transport=vsock ");
  EXPECT_TRUE(asked.scope.live);
  EXPECT_TRUE(asked.scope.config);
}

TEST_F(Add, JsonIsAnArrayOfWhatWasMade) {
  answer(fake_forward());
  const ProgramResult result = run({"add", "web", "8080:80", "--json"});
  EXPECT_EQ(result.status, 0);
  EXPECT_TRUE(result.out.starts_with("[\n{\"domain\":\"web\",")) << result.out;
  EXPECT_NE(result.out.find("\"port\":8080"), std::string::npos);
}

TEST_F(Add, AStoppedDomainStoresAndPrintsNothing) {
  DomainView stopped{uuid1, "web", {}, false, true, {}};
  daemon_.model.change(stopped);
  ForwardView view = fake_forward();
  view.host_port.reset();
  view.state = ForwardState::inactive;
  answer(view);
  const ProgramResult result = run({"add", "web", "8080:80", "--config"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err,
            "virt-forward: stored; port 8080, or the next free one, is bound at the next start of "
            "\"web\"\n");
}

TEST_F(Add, AStoppedDomainIsNotWaitedForAndStoresNothing) {
  daemon_.model.change(DomainView{uuid1, "web", {}, false, true, {}});
  for (const char* where : {"--persistent", "--config"}) {
    const ProgramResult result = run({"add", "web", "8080:80", "--wait", where});
    EXPECT_EQ(result.status, 4);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("\"web\" does not run, and nothing was stored"), std::string::npos)
        << result.err;
  }
  EXPECT_TRUE(daemon_.controller.asked.empty());
  daemon_.model.change(fake_domain());
  EXPECT_EQ(run({"add", "web", "8080:80", "--wait", "--config"}).status, 2);
  EXPECT_TRUE(daemon_.controller.asked.empty());
}

TEST_F(Add, ADryRunOfAStoppedDomainSaysWhatWouldBeStored) {
  daemon_.model.change(DomainView{uuid1, "web", {}, false, true, {}});
  ForwardView view = fake_forward();
  view.host_port.reset();
  answer(view);
  const ProgramResult result = run({"add", "web", "8080:80", "--dry-run", "--persistent"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err,
            "virt-forward: it can be stored; port 8080, or the next free one, is bound at the next "
            "start of \"web\"\n");
}

TEST_F(Add, TextIsTakenAsItIsInAnyLocale) {
  answer(fake_forward());
  EXPECT_EQ(run({"add", "web", "8080:80", "--label=B\u00fccher"}, {"LC_ALL=C"}).status, 0);
  EXPECT_EQ(text_of(daemon_.controller.asked.back().attributes),
            "guest-port=80 host-port=8080 label=B\u00fccher ");
}

TEST_F(Add, ADisabledOneIsNotBound) {
  ForwardView view = fake_forward();
  view.host_port.reset();
  view.state = ForwardState::disabled;
  answer(view);
  const ProgramResult result = run({"add", "web", "8080:80", "--disabled", "--persistent"});
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "virt-forward: stored; it is not served while it is disabled\n");
}

TEST_F(Add, ErrorsOfTheDaemonAreTheExitStatus) {
  const std::pair<ErrorCode, int> cases[] = {
      {ErrorCode::failed, 1},           {ErrorCode::not_supported, 1},
      {ErrorCode::invalid_argument, 2}, {ErrorCode::no_such_domain, 3},
      {ErrorCode::port_busy, 5},        {ErrorCode::not_allowed, 6},
  };
  for (const auto& [code, status] : cases) {
    daemon_.controller.added = Unexpected(code, "text of the daemon");
    const ProgramResult result = run({"add", "web", "8080:80"});
    EXPECT_EQ(result.status, status) << error_name(code);
    EXPECT_EQ(result.err, "virt-forward: text of the daemon\n");
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(Add, AStoppedDomainIsStatusFourNamingConfig) {
  daemon_.controller.added = Unexpected(ErrorCode::domain_not_running, "it is off");
  const ProgramResult result = run({"add", "web", "8080:80"});
  EXPECT_EQ(result.status, 4);
  EXPECT_NE(result.err.find("--config"), std::string::npos) << result.err;
}

TEST_F(Add, UsageErrorsAskNoDaemon) {
  const std::vector<std::vector<std::string>> wrong{
      {"add"},
      {"add", "web"},
      {"add", "web", "8080:80", "x"},
      {"add", "web", "0"},
      {"add", "web", "80:99999"},
      {"add", "web", "garbage"},
      {"add", "web", "80", "--nonsense"},
      {"add", "web", "80", "--transport=ftp"},
      {"add", "web", "80", "--max-connections=0"},
      {"add", "web", "80", "--host-address=localhost"},
      {"add", "web", "80/udp", "--protocol=tcp"},
      {"add", "web", "80", "--timeout=5"},
      {"add", "web", "80", "--wait", "--timeout=soon"},
      {"add", "web", "80", "--label=\xff"},
      {"add", "web", "80", "--color=blue"},
  };
  for (const auto& arguments : wrong) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, 2) << arguments.back();
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(result.err.starts_with("virt-forward: ")) << result.err;
  }
  EXPECT_TRUE(daemon_.controller.asked.empty());
}

TEST_F(Add, TheOtherWayRoundIsNamed) {
  EXPECT_EQ(run({"add", "8080:80", "web"}).err,
            "virt-forward: \"web\" is not a guest port; allowed are 1-65535 or a range like "
            "8000-8009; the domain comes first, as in: virt-forward add \"web\" 8080:80\n");
}

TEST_F(Add, AnUnknownDomainIsStatusThree) {
  const ProgramResult result = run({"add", "nobody", "8080:80"});
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("no domain \"nobody\" in test:///default"), std::string::npos)
      << result.err;
}

class AddWait : public Add {
 protected:
  AddWait() {
    view_.state = ForwardState::waiting;
    view_.reason = "the guest has no address yet";
    answer(view_);
  }
  void change(ForwardState state, const std::string& reason = {}) {
    view_.state = state;
    view_.reason = reason;
    daemon_.model.change(view_);
  }
  ForwardView view_ = fake_forward();
};

TEST_F(AddWait, EndsWhenTheForwardIsActive) {
  RunningProgram program(
      command({"--address", daemon_.address, "add", "web", "8080:80", "--wait"}));
  EXPECT_EQ(program.line(), "8080");
  change(ForwardState::no_listener, "nothing listens");
  change(ForwardState::active);
  EXPECT_EQ(program.status(), 0);
}

TEST_F(AddWait, EndsAtOnceWhenItIsActiveAlready) {
  change(ForwardState::active);
  EXPECT_EQ(run({"add", "web", "8080:80", "--wait"}).status, 0);
}

TEST_F(AddWait, SaysThatNobodyAnswersYet) {
  const std::string paused = "the domain is paused: it answers when it is resumed";
  change(ForwardState::active, paused);
  const ProgramResult result = run({"add", "web", "8080:80", "--wait", "--persistent"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "8080\n");
  EXPECT_EQ(result.err, "virt-forward: " + paused + '\n');
}

TEST_F(AddWait, GivesUpAfterTheTimeoutWithTheReason) {
  const ProgramResult result = run({"add", "web", "8080:80", "--wait", "--timeout", "1"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "8080\n");
  EXPECT_NE(result.err.find("not reachable after 1 s: the guest has no address yet"),
            std::string::npos)
      << result.err;
}

TEST_F(AddWait, AForwardThatCannotBecomeActiveEndsIt) {
  const std::pair<ForwardState, int> cases[] = {{ForwardState::failed, 1},
                                                {ForwardState::denied, 6},
                                                {ForwardState::port_busy, 5},
                                                {ForwardState::inactive, 4}};
  for (const auto& [state, status] : cases) {
    change(ForwardState::waiting, "x");
    RunningProgram program(
        command({"--address", daemon_.address, "add", "web", "8080:80", "--wait"}));
    EXPECT_EQ(program.line(), "8080");
    change(state, "because");
    EXPECT_EQ(program.status(), status);
    EXPECT_NE(program.errors().find("because"), std::string::npos);
  }
}

TEST_F(AddWait, ARemovedForwardEndsIt) {
  RunningProgram program(
      command({"--address", daemon_.address, "add", "web", "8080:80", "--wait"}));
  EXPECT_EQ(program.line(), "8080");
  daemon_.model.remove(view_);
  EXPECT_EQ(program.status(), 1);
}

TEST_F(AddWait, ADaemonThatGoesAwayIsStatusSeven) {
  RunningProgram program(
      command({"--address", daemon_.address, "add", "web", "8080:80", "--wait"}));
  EXPECT_EQ(program.line(), "8080");
  daemon_.service.reset();
  EXPECT_EQ(program.status(), 7);
}

}  // namespace
}  // namespace vf
