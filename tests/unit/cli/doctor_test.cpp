// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The verb against a daemon of the test's own; tests/e2e/test_doctor.py causes each finding.

#include <gmock/gmock.h>

#include "program_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;

class Doctor : public ProgramLab {
 protected:
  Doctor() {
    DomainView web = fake_domain();
    web.addresses = {*IpAddress::parse("192.0.2.5")};
    web.bridges = {"vf-none"};
    daemon_.model.add(web);
    ForwardView forward = fake_forward();
    forward.config = true;
    daemon_.model.add(forward);
  }
};

TEST_F(Doctor, HealthyIsStatusZero) {
  const ProgramResult result = run({"doctor"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("nothing wrong was found"));
}

TEST_F(Doctor, FindingsAreStatusOneAndJson) {
  DomainView bad = fake_domain(uuid2, "bad");
  bad.problems = {"line 3: <forward> host-port=\"0\": allowed are 1-65535"};
  daemon_.model.add(bad);
  const ProgramResult result = run({"doctor", "--json"});
  EXPECT_EQ(result.status, 1) << result.err;
  EXPECT_THAT(
      result.out,
      HasSubstr("{\"id\":\"metadata\",\"severity\":\"error\",\"subject\":\"bad\",\"message\":"
                "\"line 3: <forward> host-port=\\\"0\\\": allowed are 1-65535\","
                "\"fix\":\"virsh edit bad\"}"));
  const ProgramResult text = run({"doctor", "bad"});
  EXPECT_THAT(text.out, HasSubstr("error bad: line 3"));
  EXPECT_THAT(text.out, HasSubstr("\n    virsh edit bad\n"));
  EXPECT_THAT(text.out, HasSubstr("1 finding"));
  EXPECT_EQ(run({"doctor", "web"}).status, 0) << "that domain alone";
}

TEST_F(Doctor, WhatWasAskedForIsANoteAndNothingWrong) {
  ForwardView passing = fake_forward();  // of the running domain alone
  daemon_.model.change(passing);
  const ProgramResult text = run({"doctor"});
  EXPECT_EQ(text.status, 0) << text.out;
  EXPECT_THAT(text.out, HasSubstr("note web: the next start of the domain does not have"));
  EXPECT_THAT(text.out, HasSubstr("\nnothing wrong was found; 1 note"));
  const ProgramResult json = run({"doctor", "--json"});
  EXPECT_EQ(json.status, 0);
  EXPECT_THAT(json.out, HasSubstr("{\"id\":\"live-only\",\"severity\":\"note\","));
}

TEST_F(Doctor, WithoutADaemonThatIsTheFinding) {
  const ProgramResult result = run_program(
      command({"--address", "unix:path=" + directory_.path("nobody"), "doctor", "--json"}));
  EXPECT_EQ(result.status, 1) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"id\":\"daemon-"));
  EXPECT_THAT(result.out, HasSubstr("\"id\":\"domains\",\"severity\":\"not-checked\""));
}

TEST_F(Doctor, ARelayThatIsAwayIsAFinding) {
  daemon_.model.relay = false;
  EXPECT_THAT(run({"doctor", "--json"}).out, HasSubstr("\"id\":\"relay-down\""));
}

TEST_F(Doctor, KnowsItsArguments) {
  EXPECT_EQ(run({"doctor", "nobody"}).status, 3);
  EXPECT_EQ(run({"doctor", "web", "web"}).status, 2);
  EXPECT_THAT(run({"doctor", "web", "--color=always"}).out, Not(HasSubstr("\x1b[31m")));
}

}  // namespace
}  // namespace vf
