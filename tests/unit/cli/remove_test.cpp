// SPDX-License-Identifier: LGPL-2.1-or-later

#include "program_lab.h"

namespace vf {
namespace {

class Remove : public ProgramLab {
 protected:
  Remove() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(fake_forward());
    for (const unsigned port : {8000u, 8001u}) {
      ForwardView view = fake_forward("games#" + std::to_string(port));
      view.definition = view.name = "games";
      view.guest_port = Port::from(port);
      view.host_port = view.requested_port = Port::from(port + 10000);
      view.config = true;
      daemon_.model.add(view);
    }
  }
  std::string removed() const {
    std::string text;
    for (const auto& asked : daemon_.controller.asked)
      text += asked.forward + (asked.drain ? "~ " : " ");
    return text;
  }
};

TEST_F(Remove, ByIdNameAndPort) {
  const ProgramResult result = run({"remove", "web", "8080", "games"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(removed(), "tcp:8080:80 games ");
  EXPECT_EQ(result.err,
            "virt-forward: back at the next start of \"web\"; the same with --config makes it last "
            "(--persistent: both at once)\n");
}

TEST_F(Remove, OfAnAutomaticOneNamesThePortToBlock) {
  ForwardView view = fake_forward("auto:tcp:localhost=5173");
  view.definition = view.id;
  view.origin = Origin::automatic;
  view.process = ProcessView{"vite", 42, "vite"};
  view.guest_port = Port::from(5173);
  view.host_port = Port::from(15173);
  daemon_.model.add(view);
  const ProgramResult result = run({"remove", "web", "15173", "games"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("virt-forward block web 5173 ends it"), std::string::npos)
      << result.err;
  EXPECT_EQ(removed(), "games ");
}

TEST_F(Remove, WhatIsLiveOnlyDoesNotComeBack) {
  EXPECT_EQ(run({"remove", "web", "8080:80", "--drain"}).err, "");
  EXPECT_EQ(removed(), "tcp:8080:80~ ");
}

TEST_F(Remove, OfASavedDomainItCountsLater) {
  DomainView saved{uuid1, "web", {}, false, true, {}};
  saved.saved = true;
  daemon_.model.change(saved);
  EXPECT_EQ(
      run({"remove", "web", "games", "--config"}).err,
      "virt-forward: \"web\" is saved, and its next start goes on as it was then: this counts "
      "from a start after that (virsh managedsave-remove web gives the saved state up)\n");
}

TEST_F(Remove, AllOfTheScope) {
  EXPECT_EQ(run({"remove", "web", "--all"}).status, 0);
  EXPECT_EQ(removed(), "games tcp:8080:80 ");
  daemon_.controller.asked.clear();
  EXPECT_EQ(run({"remove", "web", "--all", "--config"}).status, 0);
  EXPECT_EQ(removed(), "games ");
  EXPECT_TRUE(daemon_.controller.asked.front().scope.config);
}

TEST_F(Remove, APortOfARangeIsRefused) {
  const ProgramResult result = run({"remove", "web", "18001"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("1 of the 2 ports of \"games\""), std::string::npos) << result.err;
  EXPECT_EQ(removed(), "");
}

TEST_F(Remove, NothingIsRemovedWhenOneWordIsWrong) {
  const ProgramResult result = run({"remove", "web", "games", "nonsense"});
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(removed(), "");
}

TEST_F(Remove, UsageErrors) {
  EXPECT_EQ(run({"remove"}).status, 2);
  EXPECT_EQ(run({"remove", "web"}).status, 2);
  EXPECT_EQ(run({"remove", "web", "games", "--all"}).status, 2);
}

TEST_F(Remove, JsonTellsWhatWasRemoved) {
  const ProgramResult result = run({"remove", "web", "games", "--json"});
  EXPECT_NE(result.out.find("\"id\":\"games#8000\""), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("\"id\":\"games#8001\""), std::string::npos);
  EXPECT_EQ(result.out.find("tcp:8080:80"), std::string::npos);
}

TEST_F(Remove, AStoppedDomainIsStatusFourNamingConfig) {
  daemon_.controller.removed = Unexpected(ErrorCode::domain_not_running, "it is off");
  const ProgramResult result = run({"remove", "web", "games"});
  EXPECT_EQ(result.status, 4);
  EXPECT_NE(result.err.find("--config"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace vf
