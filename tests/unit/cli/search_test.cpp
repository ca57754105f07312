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

TEST_F(Search, WithoutLibvirtNothingIsKnownAndThatIsSaid) {
  Served blind(directory_.path("blind.sock"));
  blind.model.libvirt = false;
  blind.model.reason = "qemu:///system: no such socket";
  const std::vector<std::string> to_it{"--address", blind.address};
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"list"}, {"list", "--json"}, {"add", "web", "80"}, {"url", "web"}, {"auto", "web"}}) {
    std::vector<std::string> line = to_it;
    line.insert(line.end(), words.begin(), words.end());
    const ProgramResult result = run_searching(line);
    EXPECT_EQ(result.status, 7) << words.front() << result.err;
    EXPECT_EQ(result.out, "") << words.front();
    EXPECT_NE(result.err.find("no such socket"), std::string::npos) << result.err;
  }
  // One that sees helps itself, but what only the blind one could know is not known.
  EXPECT_EQ(run({"--address", blind.address, "url", "web"}).out, "http://127.0.0.1:8080\n");
  EXPECT_EQ(run({"--address", blind.address, "url", "nobody"}).status, 7);
}

TEST_F(Search, ADaemonThatOnlyStartsIsWaitedFor) {
  Served starting(directory_.path("starting.sock"));
  starting.model.libvirt = false;
  starting.controller.before_caught_up = [&] {
    if (starting.model.libvirt) return;
    starting.model.libvirt = true;
    starting.model.add(fake_domain());
    starting.model.add(fake_forward());
  };
  starting.controller.before_settled = starting.controller.before_caught_up;
  const ProgramResult result = run_searching({"--address", starting.address, "url", "web"});
  EXPECT_EQ(result.out, "http://127.0.0.1:8080\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(Search, WithoutLibvirtWhatWasKnownIsShown) {
  daemon_.model.libvirt = false;
  daemon_.model.reason = "it hung up";
  const ProgramResult result = run({"url", "web"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "http://127.0.0.1:8080\n");
  EXPECT_NE(result.err.find("(it hung up); what it shows may be old"), std::string::npos)
      << result.err;
  EXPECT_EQ(run({"url", "nobody"}).status, 7);
}

TEST_F(Search, NamesAreAnsweredWithTheNearest) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"url", "wbe"}, "did you mean \"web\"?"},
      {{"url", "web", "tcp:8008:80"}, "did you mean \"tcp:8080:80\"?"},
      {{"list", "--al"}, "did you mean \"--all\"?"},
      {{"add", "web", "80", "--nmae=x"}, "did you mean \"--name\"?"},
      {{"--conect=x", "list"}, "did you mean \"--connect\"?"},
      {{"url", "mail"}, "virsh list --all"},
      {{"url", "web", "x"}, "there are \"tcp:8080:80\""}};
  for (const auto& [words, hint] : cases) {
    const ProgramResult result = run(words);
    EXPECT_NE(result.status, 0);
    EXPECT_NE(result.err.find(hint), std::string::npos) << result.err;
  }
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
            "add\nremove\nenable\ndisable\nlist\nurl\nwatch\nauto\nblock\nunblock\nallow\nexplain\n"
            "import\nexport\n"
            "doctor\n");
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
