// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>

#include "program_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;

class Enable : public ProgramLab {
 protected:
  Enable() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(forward_);
    daemon_.controller.added = std::vector{forward_};
    for (const unsigned port : {8000u, 8001u}) {
      ForwardView view = fake_forward("games#" + std::to_string(port));
      view.definition = view.name = "games";
      view.guest_port = Port::from(port);
      view.host_port = view.requested_port = Port::from(port + 10000);
      daemon_.model.add(view);
    }
  }
  // "change tcp:8080:80 enabled=no", of each edit.
  std::vector<std::string> asked() const {
    std::vector<std::string> list;
    for (const auto& asked : daemon_.controller.asked)
      if (asked.forward != "metadata")
        list.push_back(asked.forward + ' ' + asked.attributes.at(0).first + '=' +
                       asked.attributes.at(0).second);
    return list;
  }
  // What the next start brings.
  void stored(const std::string& forwards) {
    daemon_.controller.element_of = [=](const EditScope& scope) {
      return scope.config ? "<forwards>" + forwards + "</forwards>" : std::string();
    };
  }
  ForwardView forward_ = fake_forward();
};

TEST_F(Enable, ChangesTheAttributeOfEachDefinition) {
  const ProgramResult off = run({"disable", "web", "8080", "games"});
  EXPECT_EQ(off.status, 0) << off.err;
  EXPECT_EQ(off.out + off.err, "");
  EXPECT_THAT(asked(),
              testing::ElementsAre("change tcp:8080:80 enabled=no", "change games enabled=no"));
  daemon_.controller.asked.clear();
  const ProgramResult on = run({"enable", "web", "tcp:8080:80", "--persistent"});
  EXPECT_EQ(on.status, 0) << on.err;
  EXPECT_EQ(on.out, "8080\n");
  EXPECT_EQ(on.err, "");
  EXPECT_THAT(asked(), testing::ElementsAre("change tcp:8080:80 enabled="));
  EXPECT_TRUE(daemon_.controller.asked.front().scope.persistent);
}

TEST_F(Enable, SaysWhenThePortIsAnother) {
  forward_.host_port = Port::from(8081);
  daemon_.model.change(forward_);
  daemon_.controller.added = std::vector{forward_};
  const ProgramResult result = run({"enable", "web", "8080"});
  EXPECT_EQ(result.out, "8081\n");
  EXPECT_EQ(result.err, "virt-forward: 8080 is taken; using 8081\n");
}

TEST_F(Enable, OfTheNextStartAlonePrintsNoPort) {
  EXPECT_EQ(run({"enable", "web", "8080", "--config"}).out, "");
  EXPECT_TRUE(daemon_.controller.asked.front().scope.config);
}

TEST_F(Enable, WhatTheNextStartTurnsBackIsSaid) {
  stored("<forward guest-port='80' host-port='8080'/>");
  EXPECT_EQ(
      run({"disable", "web", "8080"}).err,
      "virt-forward: enabled again at the next start of \"web\"; the same with --config makes "
      "it last (--persistent: both at once)\n");
  EXPECT_EQ(run({"enable", "web", "8080"}).err, "");
  stored("<forward guest-port='80' host-port='8080' enabled='no'/>");
  EXPECT_EQ(run({"disable", "web", "8080"}).err, "");
  EXPECT_THAT(run({"enable", "web", "8080"}).err, HasSubstr("disabled again at the next start"));
}

TEST_F(Enable, APartOfARangeIsRefused) {
  const ProgramResult result = run({"disable", "web", "18001"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("a range is disabled whole"));
  EXPECT_TRUE(daemon_.controller.asked.empty());
}

TEST_F(Enable, OfAnAutomaticOneNamesTheBlock) {
  ForwardView view = fake_forward("auto:tcp:5173");
  view.origin = Origin::automatic;
  view.guest_port = Port::from(5173);
  view.host_port = Port::from(5173);
  daemon_.model.add(view);
  const ProgramResult result = run({"disable", "web", "5173"});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("virt-forward block web 5173 ends it"));
  EXPECT_TRUE(daemon_.controller.asked.empty());
}

// As where automatic forwarding is on: what the guest has open takes the port of a disabled one.
TEST_F(Enable, WhatIsForwardedByItselfNowIsSaidAndIsNotMeant) {
  ForwardView automatic = fake_forward("auto:tcp:80");
  automatic.origin = Origin::automatic;
  daemon_.model.add(automatic);
  forward_.host_port.reset();
  forward_.url.clear();
  forward_.state = ForwardState::disabled;
  daemon_.model.change(forward_);
  daemon_.controller.added = std::vector{forward_};
  EXPECT_EQ(run({"disable", "web", "8080"}).err,
            "virt-forward: 80 is forwarded by itself now, as http://127.0.0.1:8080; virt-forward "
            "block web 80 ends that\n");
  EXPECT_EQ(run({"enable", "web", "8080"}).err, "");
  EXPECT_THAT(asked(),
              testing::ElementsAre("change tcp:8080:80 enabled=no", "change tcp:8080:80 enabled="));
}

TEST_F(Enable, ErrorsOfTheDaemonAreTheExitStatus) {
  daemon_.controller.added = Unexpected(ErrorCode::port_busy, "8080 is taken");
  const ProgramResult busy = run({"enable", "web", "8080", "games"});
  EXPECT_EQ(busy.status, 5);
  EXPECT_EQ(busy.err, "virt-forward: 8080 is taken\nvirt-forward: 8080 is taken\n");
  daemon_.controller.added = Unexpected(ErrorCode::domain_not_running, "it is off");
  const ProgramResult stopped = run({"disable", "web", "8080"});
  EXPECT_EQ(stopped.status, 4);
  EXPECT_THAT(stopped.err, HasSubstr("--config"));
  forward_.live = false;
  forward_.config = true;
  forward_.state = ForwardState::inactive;
  daemon_.model.change(forward_);
  daemon_.controller.added = Unexpected(ErrorCode::no_such_forward, "it has no such definition");
  const ProgramResult next = run({"disable", "web", "tcp:8080:80"});
  EXPECT_EQ(next.status, 3);
  EXPECT_THAT(next.err, HasSubstr("use --config for the one of its next start"));
  EXPECT_EQ(run({"disable", "web", "9999"}).status, 3);
  EXPECT_EQ(run({"disable", "nobody", "8080"}).status, 3);
  EXPECT_EQ(run({"disable", "web"}).status, 2);
}

TEST_F(Enable, JsonIsAnArrayOfWhatItIsThen) {
  const ProgramResult result = run({"enable", "web", "8080", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, testing::StartsWith("[\n{\"domain\":\"web\","));
}

}  // namespace
}  // namespace vf
