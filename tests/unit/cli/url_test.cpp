// SPDX-License-Identifier: LGPL-2.1-or-later

#include <filesystem>
#include <fstream>

#include "program_lab.h"

namespace vf {
namespace {

class Url : public ProgramLab {
 protected:
  Url() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(fake_forward());
    ForwardView ssh = fake_forward("ssh");
    ssh.name = "ssh";
    ssh.host_port = ssh.requested_port = Port::from(2222);
    ssh.guest_port = Port::from(22);
    ssh.url = "127.0.0.1:2222";
    daemon_.model.add(ssh);
  }
  void install(const std::string& program, const std::string& script) {
    std::filesystem::create_directory(directory_.path("bin"));
    std::ofstream(directory_.path("bin/" + program)) << "#!/bin/sh\n" << script << '\n';
    std::filesystem::permissions(directory_.path("bin/" + program),
                                 std::filesystem::perms::owner_all);
  }
  std::string content(const std::string& name) {
    std::ifstream file(directory_.path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_F(Url, PrintsThemAllOrOne) {
  EXPECT_EQ(run({"url", "web"}).out, "127.0.0.1:2222\nhttp://127.0.0.1:8080\n");
  EXPECT_EQ(run({"url", "web", "ssh"}).out, "127.0.0.1:2222\n");
  EXPECT_EQ(run({"url", "web", "8080:80"}).out, "http://127.0.0.1:8080\n");
  EXPECT_NE(run({"url", "web", "ssh", "--json"}).out.find("\"url\":\"127.0.0.1:2222\""),
            std::string::npos);
}

TEST_F(Url, NoneIsStatusThreeWithTheReason) {
  EXPECT_EQ(run({"url", "web", "nonsense"}).status, 3);
  ForwardView busy = fake_forward("busy");
  busy.name = "busy";
  busy.url.clear();
  busy.host_port.reset();
  busy.state = ForwardState::port_busy;
  busy.reason = "8080 is held by another program";
  daemon_.model.add(busy);
  const ProgramResult result = run({"url", "web", "busy"});
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("port-busy: 8080 is held by another program"), std::string::npos)
      << result.err;
  daemon_.model.add(fake_domain(uuid2, "empty"));
  EXPECT_EQ(run({"url", "empty"}).status, 3);
  daemon_.model.change(DomainView{uuid2, "empty", {}, false, true, {}});
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"url", "empty"}, {"url", "empty", "ssh"}}) {
    const ProgramResult stopped = run(command);
    EXPECT_EQ(stopped.status, 4);
    EXPECT_NE(stopped.err.find("does not run"), std::string::npos);
  }
}

TEST_F(Url, CopiesByTheDesktopsProgram) {
  install("wl-copy", "cat > " + directory_.path("clipboard"));
  const ProgramResult result =
      run({"url", "web", "ssh", "--copy"},
          {"WAYLAND_DISPLAY=wayland-0", "PATH=" + directory_.path("bin") + ":/usr/bin:/bin"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "127.0.0.1:2222\n");
  EXPECT_EQ(content("clipboard"), "127.0.0.1:2222");
}

TEST_F(Url, CopiesByTheTerminalWithoutADesktop) {
  std::string line;
  for (const std::string& word :
       command({"--address", daemon_.address, "url", "web", "ssh", "--copy"}))
    line += word + ' ';
  const std::string out = run_program({"/usr/bin/script", "-qefc", line, "/dev/null"}).out;
  EXPECT_NE(out.find("\x1b]52;c;MTI3LjAuMC4xOjIyMjI=\x07"), std::string::npos) << out;
}

TEST_F(Url, OpensOneThatHasAScheme) {
  EXPECT_EQ(run({"url", "web", "ssh", "--open"}).status, 2);
  EXPECT_EQ(run({"url", "web", "--open"}).status, 2);
  // A desktop whose browser writes down what it was asked to open.
  install("browser", "echo \"$1\" > " + directory_.path("opened.tmp") + "; mv " +
                         directory_.path("opened.tmp") + ' ' + directory_.path("opened"));
  std::filesystem::create_directories(directory_.path("data/applications"));
  std::ofstream(directory_.path("data/applications/b.desktop"))
      << "[Desktop Entry]\nType=Application\nName=b\nExec=" << directory_.path("bin/browser")
      << " %u\nMimeType=x-scheme-handler/http;\n";
  std::ofstream(directory_.path("data/applications/mimeapps.list"))
      << "[Default Applications]\nx-scheme-handler/http=b.desktop\n";
  const ProgramResult result =
      run({"url", "web", "8080", "--open"}, {"XDG_DATA_HOME=" + directory_.path("data"),
                                             "HOME=" + directory_.root(), "XDG_DATA_DIRS=/none"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(iterate_until([&] { return content("opened") == "http://127.0.0.1:8080\n"; }));
}

}  // namespace
}  // namespace vf
