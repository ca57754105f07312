// SPDX-License-Identifier: LGPL-2.1-or-later

#include "lab.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/unix_address.h"
#include "daemon/ssh_program.h"
#include "wire/ssh.h"

namespace vf::test {
namespace {

constexpr const char* user = "nobody";

pid_t start(const std::vector<std::string>& arguments) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  std::vector<char*> argv;
  for (const std::string& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

bool listens(std::uint16_t port) {
  char text[32];
  std::snprintf(text, sizeof text, ":%04X 00000000:0000 0A", port);
  std::ifstream table("/proc/self/net/tcp");
  return std::string((std::istreambuf_iterator<char>(table)), {}).find(text) != std::string::npos;
}

void end_tree(pid_t pid) {
  const auto children = children_of(pid);
  kill(pid, SIGKILL);
  for (const pid_t child : children)
    end_tree(child);
}

}  // namespace

bool run(const std::vector<std::string>& arguments) {
  int status = 0;
  return waitpid(start(arguments), &status, 0) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::vector<pid_t> children_of(pid_t pid) {
  const std::string number = std::to_string(pid);
  std::ifstream list("/proc/" + number + "/task/" + number + "/children");
  return {std::istream_iterator<pid_t>(list), {}};
}

bool is_running(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const auto name_end = text.rfind(')');
  return name_end != text.npos && text.substr(name_end + 2, 1) != "Z";
}

Sshd::Sshd(const std::string& directory, const std::string& host_key, const std::string& address) {
  const std::string config = directory + "/sshd_config";
  std::ofstream(config) << "Port " << port << "\nListenAddress " << address << "\nHostKey "
                        << host_key << "\nAuthorizedKeysFile " << directory
                        << "/authorized\nPidFile none\nStrictModes no\nUsePAM no\n"
                           "PermitRootLogin yes\nLogLevel ERROR\n";
  pid_ = start({"/usr/sbin/sshd", "-D", "-e", "-f", config});
  EXPECT_TRUE(run_until([] { return listens(port); })) << "sshd does not start";
}

Sshd::~Sshd() {
  end_tree(pid_);
  waitpid(pid_, nullptr, 0);
}

SshLab::SshLab() {
  char name[] = "/tmp/ssh-test.XXXXXX";
  directory_ = mkdtemp(name);
  chmod(directory_.c_str(), 0755);
  key_ = make_key("key");
  make_key("host_key");
  chown(file("host_key").c_str(), 0, 0);
  std::filesystem::copy_file(key_ + ".pub", file("authorized"));
  sshd_ = std::make_unique<Sshd>(directory_, file("host_key"));
}

SshLab::~SshLab() {
  tunnels_.reset();
  if (const pid_t pid = program()) {
    const auto left = masters();
    kill(pid, SIGTERM);
    EXPECT_TRUE(run_until([&] { return !is_running(pid); }));
    for (const pid_t one : left)
      EXPECT_TRUE(run_until([&] { return !is_running(one); })) << "ssh " << one << " is left";
    EXPECT_TRUE(std::filesystem::is_empty(file("sockets"))) << "a socket is left";
  }
  sshd_.reset();
  std::filesystem::remove_all(directory_);
}

void SshLab::tunnels_changed(Transport kind, const std::string&) {
  EXPECT_EQ(kind, Transport::ssh);
  ++changes_;
}

SshTunnels& SshLab::daemon() {
  tunnels_.reset();
  tunnels_ = std::make_unique<SshTunnels>(
      connector({VF_SSH_PROGRAM_PATH, file("ssh.sock"), user, file("sockets"), file("state")}),
      *this);
  return *tunnels_;
}

TunnelOrder SshLab::order(std::set<TunnelTarget> targets) const {
  TunnelOrder order;
  order.uuid = uuid;
  order.addresses = {IpAddress::loopback4()};
  order.ssh = SshAccount{"root", *Port::from(Sshd::port), "lab", key_};
  order.targets = std::move(targets);
  return order;
}

std::string SshLab::path(const TunnelTarget& target, const std::string& guest) const {
  const TunnelEnds ends = tunnels_->ends(guest);
  const auto found = ends.find(target);
  if (found == ends.end() || !found->second) return {};
  return std::get<UnixEndpoint>(*found->second).path;
}

std::string SshLab::reason(const TunnelTarget& target, const std::string& guest) const {
  const TunnelEnds ends = tunnels_->ends(guest);
  const auto found = ends.find(target);
  if (found == ends.end()) return "not ordered";
  return found->second ? "" : found->second.error().message;
}

std::string SshLab::laid(const TunnelTarget& target, const std::string& guest) {
  EXPECT_TRUE(run_until([&] { return !path(target, guest).empty(); })) << reason(target, guest);
  return path(target, guest);
}

bool SshLab::fails(const TunnelTarget& target, const std::string& words) {
  const bool failed = run_until([&] { return reason(target).find(words) != std::string::npos; });
  EXPECT_TRUE(failed) << "last: " << reason(target);
  return failed;
}

bool SshLab::refused(const TunnelTarget& target, const std::string& words) {
  return run_until([&] {
    const auto refusals = tunnels_->refusals(uuid);
    const auto found = refusals.find(target);
    return found != refusals.end() ? found->second.find(words) != std::string::npos : words.empty();
  });
}

std::string SshLab::make_key(const std::string& name, const std::string& type) {
  const std::string path = file(name);
  std::filesystem::remove(path);
  EXPECT_TRUE(run({"/usr/bin/ssh-keygen", "-q", "-t", type, "-N", "", "-f", path}));
  const passwd* const owner = getpwnam(user);
  EXPECT_EQ(chown(path.c_str(), owner->pw_uid, owner->pw_gid), 0);
  return path;
}

pid_t SshLab::program() const {
  const auto address = UnixAddress::from(file("ssh.sock"));
  const Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  set_deadline(fd.get());
  if (connect(fd.get(), address->get(), address->length) < 0) return 0;
  std::uint8_t bytes[256];
  const ssize_t length = recv(fd.get(), bytes, sizeof bytes, 0);
  if (length <= 0) return 0;
  auto messages = decode_ssh_packet({bytes, static_cast<std::size_t>(length)}, {});
  const auto* hello =
      messages && !messages->empty() ? std::get_if<SshHello>(&messages->front()) : nullptr;
  return hello ? static_cast<pid_t>(hello->pid) : 0;
}

std::vector<pid_t> SshLab::masters() const {
  return children_of(program());
}

Fd unix_client(const std::string& path) {
  const auto address = UnixAddress::from(path);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_deadline(fd.get());
  if (!address || connect(fd.get(), address->get(), address->length) < 0) return Fd();
  return fd;
}

Pair through(const std::string& path, const Fd& listening) {
  Fd client = unix_client(path);
  EXPECT_TRUE(client) << path;
  return {std::move(client), accepted_socket(listening)};
}

bool Pair::carries() {
  return send_all(client, "question") && receive(server, 8) == "question" &&
         send_all(server, "answer") && receive(client, 6) == "answer";
}

}  // namespace vf::test
