// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "fixture.h"
#include "wire/hook.h"

namespace vf {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

const std::string uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const std::string plain =
    "<forwards xmlns='urn:virt-forward:1'><forward guest-port='80'/></forwards>";
const std::string required =
    "<forwards xmlns='urn:virt-forward:1'><forward guest-port='80' required='yes'/></forwards>";

const std::vector<std::string> operations{"prepare", "start",   "started", "stopped",   "release",
                                          "restore", "migrate", "attach",  "reconnect", "novelty"};

std::string domain(const std::string& metadata, const std::string& name = "web") {
  return "<domain type='kvm'><name>" + name + "</name><uuid>" + uuid + "</uuid><metadata>" +
         metadata + "</metadata></domain>";
}

class RunHook : public testing::Test {
 protected:
  Outcome run(const std::string& operation, const std::string& xml,
              std::chrono::milliseconds budget = 5s) {
    const Feed feed(xml);
    return run_hook({"web", operation, feed.fd(), path_, Deadline::after(budget),
                     [this] { guarded_ = true; }, every_domain_});
  }

  // Serves one client at `path_`.
  std::future<HookMessage> serve(const std::vector<std::uint8_t>& reply) {
    listener_ = listen_at(path_, SOCK_STREAM, 4);
    return std::async(std::launch::async, [this, reply] {
      const Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const auto message = decode_hook_message(receive_message(client.get()));
      if (!reply.empty()) send_bytes(client.get(), reply);
      return message ? *message : HookMessage{};
    });
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "hook.sock";
  Fd listener_;
  bool guarded_ = false;
  bool every_domain_ = false;
};

TEST_F(RunHook, DomainWithoutOurMetadataCostsNoConnectionAndNoLogLine) {
  listener_ = listen_at(path_, SOCK_STREAM, 4);
  for (const std::string& operation : operations) {
    const Outcome outcome = run(operation, domain("<x:y xmlns:x='urn:other'/>"));
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.log, "");
  }
  ASSERT_EQ(fcntl(listener_.get(), F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC), -1);
}

TEST_F(RunHook, EveryOperationIsHandedOver) {
  for (const std::string& operation : operations) {
    auto server = serve({});
    const Outcome outcome = run(operation, domain(plain));
    EXPECT_EQ(outcome.status, 0);
    HookMessage message = server.get();
    message.moment = {};
    EXPECT_EQ(message, (HookMessage{hook_operation(operation), false, uuid, "web", plain}));
    EXPECT_EQ(outcome.log,
              "domain=web uuid=" + uuid + " operation=" + operation + " result=delivered");
    std::filesystem::remove(path_);
  }
}

TEST_F(RunHook, InASessionEveryDomainIsHandedOver) {
  every_domain_ = true;
  const std::string foreign = domain("<x:y xmlns:x='urn:other'/>");
  for (const std::string& operation : operations) {
    auto server = serve({});
    const Outcome outcome = run(operation, foreign);
    EXPECT_EQ(outcome.status, 0);
    HookMessage message = server.get();
    message.moment = {};
    EXPECT_EQ(message, (HookMessage{hook_operation(operation), false, uuid, "web", ""}));
    std::filesystem::remove(path_);
    const Outcome alone = run(operation, foreign);
    EXPECT_EQ(alone.status, 0);
    EXPECT_EQ(alone.log, "") << "no daemon is no news";
  }
}

TEST_F(RunHook, TheMessageSaysWhichRunAndWhen) {
  using Clock = std::chrono::steady_clock;
  auto server = serve({});
  std::string xml = domain(plain);
  xml.insert(xml.find('>'), " id='12'");
  const auto before = Clock::now().time_since_epoch();
  EXPECT_EQ(run("prepare", xml).status, 0);
  const HookMessage message = server.get();
  EXPECT_EQ(message.run, 12);
  EXPECT_GE(message.moment, before);
  EXPECT_LE(message.moment, Clock::now().time_since_epoch());
}

TEST_F(RunHook, OnlyPrepareWaitsForAnAnswer) {
  for (const std::string& operation : operations) {
    if (operation == "prepare") continue;
    auto server = serve({});
    EXPECT_EQ(run(operation, domain(required)).status, 0);
    EXPECT_FALSE(server.get().wants_answer) << operation;
    std::filesystem::remove(path_);
  }
  EXPECT_FALSE(guarded_);
}

TEST_F(RunHook, AcceptedPrepareSucceeds) {
  auto server = serve(encode(HookReply{}));
  const Outcome outcome = run("prepare", domain(required));
  EXPECT_EQ(outcome.status, 0) << outcome.complaint;
  EXPECT_EQ(outcome.complaint, "");
  EXPECT_TRUE(server.get().wants_answer);
  EXPECT_TRUE(guarded_);
}

TEST_F(RunHook, RefusedPrepareSaysWhyAndWhatToDo) {
  auto server = serve(encode(HookReply{false, "port 8080 is held by \x1b[31mnginx"}));
  const Outcome outcome = run("prepare", domain(required));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.complaint,
              AllOf(HasSubstr("'web'"), HasSubstr("port 8080 is held by \\x1b[31mnginx"),
                    HasSubstr("nginx. Mend that, or take required=\"yes\" away with: "),
                    EndsWith("virsh edit web"), Not(HasSubstr("\n"))));
  EXPECT_THAT(outcome.log, HasSubstr("result=refused"));
  EXPECT_TRUE(outcome.severe);
}

TEST_F(RunHook, WithoutADaemonOnlyARequiredPrepareFails) {
  for (const std::string& operation : operations) {
    EXPECT_EQ(run(operation, domain(plain)).status, 0) << operation;
    const Outcome outcome = run(operation, domain(required), 100ms);
    EXPECT_EQ(outcome.status, operation == "prepare" ? 1 : 0) << operation;
    EXPECT_THAT(outcome.log, HasSubstr("reason="));
  }
}

TEST_F(RunHook, SilentDaemonRefusesInTime) {
  listener_ = listen_at(path_, SOCK_STREAM, 4);
  const auto begun = std::chrono::steady_clock::now();
  const Outcome outcome = run("prepare", domain(required), 500ms);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.complaint, HasSubstr("virt-forwardd"));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 500ms);
}

TEST_F(RunHook, NoticeToAFullSocketIsGivenUpEarly) {
  listener_ = listen_at(path_, SOCK_STREAM, 0);
  std::vector<Fd> queued;
  while (Fd client = connect_at(path_, SOCK_NONBLOCK))
    queued.push_back(std::move(client));
  const auto begun = std::chrono::steady_clock::now();
  const Outcome outcome = run("start", domain(plain), 60s);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.log, HasSubstr("result=not-delivered"));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
}

TEST_F(RunHook, InputThatDoesNotEndIsGivenUp) {
  Pipe pipe;
  const auto try_with = [&](const std::string& text) {
    EXPECT_EQ(write(pipe.in.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    return run_hook({"web", "prepare", pipe.out.get(), path_, Deadline::after(50ms), {}});
  };
  EXPECT_EQ(try_with("<domain>").status, 0);
  const Outcome outcome = try_with(domain(required));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.complaint, HasSubstr("in time"));
}

TEST_F(RunHook, CutOffInputThatShowedRequiredIsRefused) {
  const std::string xml = domain(required);
  const Outcome outcome = run("prepare", xml.substr(0, xml.find("</forwards>")));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.complaint, HasSubstr("not well-formed"));
  EXPECT_EQ(run("reconnect", xml.substr(0, xml.find("</forwards>"))).status, 0);
}

TEST_F(RunHook, InputPastTheLimitIsNotUsed) {
  const std::string padding(max_domain_bytes, ' ');
  EXPECT_EQ(run("prepare", domain(plain) + padding, 20s).status, 0);
  const Outcome outcome = run("prepare", domain(required) + padding, 20s);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.complaint, HasSubstr("whole"));
  EXPECT_EQ(run("start", domain(required) + padding, 20s).status, 0);
}

TEST_F(RunHook, MetadataPastItsLimitIsNotSent) {
  const std::string comment = "<!--" + std::string(HookMessage::max_element_bytes, ' ') + "-->";
  const auto with_comment = [&](std::string element) {
    return domain(element.insert(element.find("</forwards>"), comment));
  };
  auto server = serve({});
  EXPECT_EQ(run("start", with_comment(plain), 20s).status, 0);
  EXPECT_EQ(server.get().element, "");
  const Outcome outcome = run("prepare", with_comment(required), 20s);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.complaint, HasSubstr("1 MiB"));
}

TEST_F(RunHook, InputThatIsNoDomainIsIgnored) {
  for (const std::string& xml : {std::string(), std::string("\0\0", 2),
                                 std::string("urn:virt-forward:1"), "<x>" + required + "</x>",
                                 "<!DOCTYPE x>" + domain(required), "\xff\xfe" + domain(required)})
    for (const std::string& operation : operations)
      EXPECT_EQ(run(operation, xml).status, 0) << xml;
}

TEST_F(RunHook, ClosedInputIsIgnored) {
  EXPECT_EQ(run_hook({"web", "prepare", -1, path_, Deadline::after(50ms), {}}).status, 0);
}

TEST_F(RunHook, HostileNamesAreMadePrintable) {
  const Outcome outcome = run("start", domain(plain,
                                              "a b\xc2\x9b"
                                              "31m&quot;$(id)"));
  EXPECT_THAT(outcome.log, HasSubstr("domain=\"a b\\xc2\\x9b31m\\\"$(id)\" "));
}

}  // namespace
}  // namespace vf
