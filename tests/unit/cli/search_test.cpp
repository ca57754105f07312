// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which daemon a command line means.

#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>

#include "base/fd.h"
#include "program_lab.h"

namespace vf {
namespace {

class Search : public ProgramLab {
 protected:
  Search() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(fake_forward());
  }
};

TEST_F(Search, ADomainInTwoDaemonsIsAmbiguous) {
  Served other(directory_.path("other.sock"));
  other.model.add(fake_domain(uuid2, "web"));
  const ProgramResult result = run({"--address", other.address, "url", "web"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("\"web\" is in "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("--connect test:///default"), std::string::npos) << result.err;
}

TEST_F(Search, TwoDaemonsAreListedTogetherAndOneAnswers) {
  Served other(directory_.path("other.sock"));
  other.model.add(fake_domain(uuid2, "db"));
  ForwardView view = fake_forward("pg", uuid2);
  view.domain = "db";
  view.name = "pg";
  other.model.add(view);
  const std::vector<std::string> both{"--address", daemon_.address,
                                      "--address", other.address,
                                      "--address", "unix:path=" + directory_.path("nobody")};
  std::vector<std::string> list = both;
  list.push_back("list");
  const ProgramResult result = run(list);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("pg"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("8080"), std::string::npos) << result.out;
  std::vector<std::string> url = both;
  url.insert(url.end(), {"url", "db"});
  EXPECT_EQ(run(url).out, "http://127.0.0.1:8080\n");
}

TEST_F(Search, TheSessionDaemonIsFoundByItsSocket) {
  std::filesystem::create_directory(directory_.path("virt-forward"));
  Served session(directory_.path("virt-forward/bus.sock"));
  session.model.add(fake_domain(uuid2, "mine"));
  ForwardView view = fake_forward("a", uuid2);
  session.model.add(view);
  EXPECT_EQ(run_searching({"url", "mine"}).out, "http://127.0.0.1:8080\n");
  EXPECT_EQ(run_searching({"-c", "qemu:///session", "url", "mine"}).status, 0);
  EXPECT_EQ(run_searching({"--connect=test:///default", "url", "mine"}).status, 0);
  const ProgramResult other = run_searching({"-c", "xen:///system", "url", "mine"});
  EXPECT_EQ(other.status, 7);
  EXPECT_NE(other.err.find("no daemon serves xen:///system; those that run serve test:///default"),
            std::string::npos)
      << other.err;
}

TEST_F(Search, TheDaemonIsFoundOnTheSessionBus) {
  PrivateBus bus;
  FakeModel model;
  FakeController controller;
  model.add(fake_domain(uuid2, "onbus"));
  model.add(fake_forward("a", uuid2));
  g_setenv("DBUS_SESSION_BUS_ADDRESS", bus.address().c_str(), TRUE);
  BusService::Options options;
  options.bus = BusService::Bus::session;
  const auto service = BusService::start(options, model, controller);
  ASSERT_TRUE(service) << service.error().message;
  const std::string environment = "DBUS_SESSION_BUS_ADDRESS=" + bus.address();
  ASSERT_TRUE(iterate_until([&] {
    return run_program({"/usr/bin/env", environment, "/usr/bin/gdbus", "introspect", "--session",
                        "-d", "org.virtforward1", "-o", "/org/virtforward1"})
               .status == 0;
  }));
  EXPECT_EQ(run_searching({"url", "onbus"}, {environment}).out, "http://127.0.0.1:8080\n");
  RunningProgram watch(command({"watch"}, {environment}));
  EXPECT_NE(watch.line().find("\"added\""), std::string::npos);
  model.remove(fake_forward("a", uuid2));
  EXPECT_NE(watch.line().find("\"removed\""), std::string::npos);
  bus.stop();
  EXPECT_EQ(watch.status(), 7);
}

TEST_F(Search, NoDaemonSaysHowToStartOne) {
  for (const char* verb : {"list", "watch"}) {
    const ProgramResult result = run_searching({verb});
    EXPECT_EQ(result.status, 7);
    EXPECT_NE(result.err.find("systemctl --user enable --now virt-forwardd.socket"),
              std::string::npos)
        << result.err;
  }
  EXPECT_EQ(run_searching({"add", "web", "8080:80"}).status, 7);
  EXPECT_EQ(run_searching({"-c", "qemu:///session", "remove", "web", "x"}).status, 7);
}

// As of a daemon that was stopped: the socket takes the connection and nothing answers.
TEST_F(Search, ADaemonThatDoesNotAnswerIsStatusSeven) {
  const std::string path = directory_.path("silent.sock");
  const Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  const ProgramResult result = run_program(command({"--address", "unix:path=" + path, "list"}));
  EXPECT_EQ(result.status, 7);
  EXPECT_NE(result.err.find("does not answer"), std::string::npos) << result.err;
}

TEST_F(Search, AnotherHostIsRefusedWithItsSshLine) {
  const ProgramResult result = run_searching({"list", "--connect=qemu+ssh://root@lab/system"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("ssh root@lab virt-forward list --connect=qemu:///system"),
            std::string::npos)
      << result.err;
}

TEST_F(Search, CompletionIsSilentWithoutADaemon) {
  const ProgramResult result = run_searching({"__complete", "domains"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out + result.err, "");
  EXPECT_EQ(run({"__complete", "domains"}).out, "web\n");
  EXPECT_EQ(run({"__complete", "forwards", "web"}).out, "tcp:8080:80\n");
  EXPECT_EQ(run({"__complete", "verbs"}).out,
            "add\nremove\nlist\nurl\nwatch\nauto\nblock\nunblock\nallow\nexplain\n");
  EXPECT_EQ(run({"__complete", "forwards", "nobody"}).err, "");
}

TEST_F(Search, UnknownVerbsAreAnsweredWithTheNearest) {
  const std::pair<const char*, const char*> cases[] = {{"lst", "did you mean \"list\"?"},
                                                       {"remvoe", "did you mean \"remove\"?"},
                                                       {"frobnicate", "allowed are add, remove"},
                                                       {"__complet", "allowed are add"}};
  for (const auto& [verb, hint] : cases) {
    const ProgramResult result = run({verb});
    EXPECT_EQ(result.status, 2);
    EXPECT_NE(result.err.find(hint), std::string::npos) << result.err;
  }
  EXPECT_EQ(run({}).status, 2);
}

}  // namespace
}  // namespace vf
