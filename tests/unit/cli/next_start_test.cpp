// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What "add" says of what is stored for the next start.

#include "program_lab.h"

namespace vf {
namespace {

class NextStart : public ProgramLab {
 protected:
  NextStart() { daemon_.model.add(fake_domain()); }
};

TEST_F(NextStart, WhatIsStoredSaysOnWhatItDepends) {
  daemon_.model.change(DomainView{uuid1, "web", {}, false, true, {}});
  daemon_.model.add(fake_domain(uuid2, "db"));
  ForwardView rival = fake_forward("site", uuid2);
  rival.domain = "db";
  const auto said = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"add", "web", "8080:81", "--config"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words).err;
  };
  const std::string stored = "virt-forward: stored; port 8080";
  const std::string bound = " is bound at the next start of \"web\"";
  EXPECT_EQ(said({"--on-busy=any"}), stored + ", or any free one," + bound + '\n');
  EXPECT_EQ(said({"--on-busy=fail"}), stored + bound + " if it is free then\n");
  EXPECT_EQ(said({"--on-busy=fail", "--required"}),
            stored + bound + ", which fails if it is not free then\n");

  daemon_.model.add(rival);
  const std::string has = ": the forward \"site\" of \"db\" has it now\n";
  EXPECT_EQ(said({}), stored + ", or the next free one," + bound + has);
  EXPECT_EQ(said({"--on-busy=fail"}), stored + bound + " if it is free then" + has);
  EXPECT_EQ(run({"add", "web", "8079-8081:80-82", "--config"}).err,
            "virt-forward: stored; ports 8079-8081, or the next free ones, are bound at the next "
            "start of \"web\": the forward \"site\" of \"db\" has 8080 now\n");
  for (const char* other : {"--protocol=udp", "--host-address=192.0.2.1", "--disabled"})
    EXPECT_EQ(said({other}).find("db"), std::string::npos) << other;

  rival.host_port.reset();
  rival.host_addresses.clear();
  rival.live = false;
  rival.config = true;
  rival.state = ForwardState::inactive;
  daemon_.model.change(rival);
  const auto rivals_address = [&](const std::string& address) {
    daemon_.controller.element = "<forwards><forward name='site' guest-port='80' host-port='8080'" +
                                 address + "/></forwards>";
    return said({"--on-busy=fail"});
  };
  EXPECT_EQ(rivals_address(""), stored + bound +
                                    " if it is free then: the forward \"site\" of \"db\" wants it "
                                    "too\n");
  EXPECT_EQ(rivals_address(" host-address='192.0.2.1'"), stored + bound + " if it is free then\n");
}

TEST_F(NextStart, WhatIsStoredForASavedDomainComesLater) {
  DomainView saved{uuid1, "web", {}, false, true, {}};
  daemon_.model.change(saved);
  // The daemon looks when it stores.
  daemon_.controller.before_added = [&] {
    saved.saved = true;
    daemon_.model.change(saved);
  };
  EXPECT_EQ(run({"add", "web", "8080:80", "--config"}).err,
            "virt-forward: stored; \"web\" is saved, and its next start goes on with the forwards "
            "that it had then: this one begins with a start after that (virsh managedsave-remove "
            "web gives the saved state up)\n");
}

// What the present run of the domain has ends with it.
TEST_F(NextStart, ItsOwnForwardsOfNowAreNoRivalsOfTheNextStart) {
  ForwardView live = fake_forward("site");
  daemon_.model.add(live);
  EXPECT_EQ(run({"add", "web", "8080:81", "--config"}).err.find("site"), std::string::npos);
  live.config = true;
  daemon_.model.change(live);
  EXPECT_NE(run({"add", "web", "8080:81", "--config"}).err.find("site"), std::string::npos);
  EXPECT_EQ(run({"add", "web", "8080:80", "--name=site", "--config"}).err.find("site"),
            std::string::npos);
}

TEST_F(NextStart, TheMetadataOfADomainIsReadOnceForAllItsForwards) {
  daemon_.model.change(DomainView{uuid1, "web", {}, false, true, {}});
  daemon_.model.add(fake_domain(uuid2, "db"));
  std::string definitions;
  std::size_t asked = 0;
  const auto questions = [&](const std::string& id) {
    ForwardView rival = fake_forward(id, uuid2);
    rival.host_port.reset();
    rival.host_addresses.clear();
    rival.live = false;
    rival.config = true;
    rival.state = ForwardState::inactive;
    daemon_.model.add(rival);
    definitions +=
        "<forward name='" + id + "' guest-port='80' host-port='8080' host-address='192.0.2.1'/>";
    daemon_.controller.element = "<forwards>" + definitions + "</forwards>";
    EXPECT_EQ(run({"add", "web", "8080:81", "--config"}).err.find("wants it"), std::string::npos);
    return daemon_.controller.asked.size() - std::exchange(asked, daemon_.controller.asked.size());
  };
  const std::size_t of_one = questions("a");
  EXPECT_EQ(questions("b"), of_one);
  EXPECT_EQ(questions("c"), of_one);
}

}  // namespace
}  // namespace vf
