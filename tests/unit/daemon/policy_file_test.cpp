// SPDX-License-Identifier: LGPL-2.1-or-later

#include "policy/policy_file.h"

#include <glib/gstdio.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/definition_xml.h"
#include "glib/ref.h"

namespace vf {
namespace {

class PolicyFile : public testing::Test {
 protected:
  PolicyFile() : directory_(take_string(g_dir_make_tmp("policy-XXXXXX", nullptr))) {}
  ~PolicyFile() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = directory_ / name;
    std::filesystem::create_directories(path.parent_path());
    ASSERT_TRUE(g_file_set_contents(path.c_str(), text.c_str(), -1, nullptr));
  }
  LoadedPolicy load() { return load_policy(directory_.string()); }

  std::filesystem::path directory_;
};

TEST_F(PolicyFile, NoFileIsTheDefault) {
  const LoadedPolicy loaded = load();
  EXPECT_TRUE(loaded.problems.empty());
  EXPECT_TRUE(loaded.policy.allows(*Port::from(65535)));
  EXPECT_FALSE(loaded.policy.allows(*IpAddress::parse("0.0.0.0")));
  EXPECT_TRUE(loaded.policy.allows(IpAddress::loopback6()));
}

TEST_F(PolicyFile, ARefusalNamesTheSettingAndItsFile) {
  const auto refusal = [this](const std::vector<std::pair<std::string, std::string>>& attributes) {
    const auto allowed = check(load().policy, *parse_forward(attributes));
    return allowed ? std::string() : allowed.error().message;
  };
  const std::string file = directory_ / "virt-forward.conf";
  EXPECT_EQ(refusal({{"guest-port", "80"}, {"host-address", "192.0.2.1"}}),
            "host address 192.0.2.1 is not allowed by this host ([host] addresses, by default); to "
            "allow it, name it as [host] addresses in " +
                file + " and reload virt-forwardd, see virt-forward.conf(5)");
  EXPECT_EQ(refusal({{"guest-port", "80"}, {"host-socket", "web.sock"}}),
            "host socket web.sock is in no directory that this host allows ([host] "
            "socket-directories, by default); to allow it, name one as [host] socket-directories "
            "in " +
                file + " and reload virt-forwardd, see virt-forward.conf(5)");
  write("virt-forward.conf.d/10-a.conf", "[host]\nports = 8000-8999\n");
  EXPECT_EQ(refusal({{"guest-port", "80"}, {"host-port", "80"}}),
            "host port 80 is not allowed by this host ([host] ports in " +
                (directory_ / "virt-forward.conf.d/10-a.conf").string() +
                "); to allow it, add it there and reload virt-forwardd, see virt-forward.conf(5)");
  EXPECT_EQ(refusal({{"guest-port", "80"}, {"host-port", "8080"}}), "");
}

TEST_F(PolicyFile, DropInsReplaceInByteOrder) {
  write("virt-forward.conf", "[host]\nports = 8000-8999\naddresses = 192.0.2.1\n");
  write("virt-forward.conf.d/20-b.conf", "[host]\nports = 9000; 9100-9199\n");
  write("virt-forward.conf.d/10-a.conf", "[host]\nports = 1024-65535\n");
  write("virt-forward.conf.d/ignored.txt", "[host]\nports = 1\n");
  const LoadedPolicy loaded = load();
  EXPECT_TRUE(loaded.problems.empty());
  EXPECT_TRUE(loaded.policy.allows(*Port::from(9000)));
  EXPECT_TRUE(loaded.policy.allows(*Port::from(9150)));
  EXPECT_FALSE(loaded.policy.allows(*Port::from(8000)));
  EXPECT_TRUE(loaded.policy.allows(*IpAddress::parse("192.0.2.1")));
  EXPECT_NE(loaded.policy.origin("host", "ports").find("20-b.conf"), std::string::npos);
}

TEST_F(PolicyFile, AutomaticForwardingIsOffWhereNobodySwitchesItOn) {
  EXPECT_FALSE(load().policy.automatic);
  EXPECT_TRUE(load_policy(directory_.string(), {.automatic = true}).policy.automatic);
  write("virt-forward.conf", "[host]\nautomatic = no\n");
  EXPECT_FALSE(load_policy(directory_.string(), {.automatic = true}).policy.automatic);
  write("virt-forward.conf", "[host]\nautomatic = yes\n[limits]\nautomatic-ports-per-domain=9\n");
  EXPECT_TRUE(load().policy.automatic);
  EXPECT_EQ(load().policy.automatic_ports_per_domain, 9u);
  write("virt-forward.conf", "[host]\nautomatic = on\n");
  ASSERT_EQ(load().problems.size(), 1u);
  EXPECT_NE(load().problems[0].text().find("allowed are yes and no"), std::string::npos);
}

TEST_F(PolicyFile, WaysAndOffloadsAreWords) {
  EXPECT_TRUE(load().policy.allows(Transport::vsock));
  write("virt-forward.conf", "[host]\ntransports = tcp\n");
  EXPECT_TRUE(load().policy.allows(Transport::tcp));
  EXPECT_FALSE(load().policy.allows(Transport::vsock));
  write("virt-forward.conf", "[host]\ntransports = tcp; auto\n");
  ASSERT_EQ(load().problems.size(), 1u);
  EXPECT_NE(load().problems[0].text().find("\"auto\": allowed are tcp, vsock, ssh and usernet"),
            std::string::npos);
  EXPECT_TRUE(Policy().allows(Offload::nftables));
  write("virt-forward.conf", "[host]\noffloads = redirect\n");
  EXPECT_FALSE(load().policy.allows(Offload::nftables));
  EXPECT_TRUE(load().policy.allows(Offload::none));
  write("virt-forward.conf", "[host]\noffloads = none\n");
  ASSERT_EQ(load().problems.size(), 1u);
}

TEST_F(PolicyFile, SshKeysHaveNamesAndPaths) {
  write("virt-forward.conf", "[ssh-keys]\nlab = /etc/virt-forward/keys/lab\n");
  EXPECT_EQ(load().policy.ssh_keys.at("lab"), "/etc/virt-forward/keys/lab");
  EXPECT_TRUE(load().problems.empty());
  write("virt-forward.conf", "[ssh-keys]\nlab = keys/lab\n");
  ASSERT_EQ(load().problems.size(), 1u);
  EXPECT_NE(load().problems[0].text().find("absolute path"), std::string::npos);
  write("virt-forward.conf", "[ssh-keys]\n-oProxyCommand = /etc/x\n");
  ASSERT_EQ(load().problems.size(), 1u);
}

TEST_F(PolicyFile, EveryMistakeIsNamed) {
  write("virt-forward.conf",
        "[host]\nports = 99999\naddress = 0.0.0.0\n[limits]\nforwards-per-domain = 0\n");
  const LoadedPolicy loaded = load();
  ASSERT_EQ(loaded.problems.size(), 3u);
  EXPECT_NE(loaded.problems[0].text().find("[host] ports: \"99999\""), std::string::npos);
  EXPECT_NE(loaded.problems[1].text().find("no such setting"), std::string::npos);
}

TEST_F(PolicyFile, AFileOfNulBytesIsNoEmptyPolicy) {
  write("virt-forward.conf", "");
  EXPECT_TRUE(load().problems.empty());
  std::ofstream(directory_ / "virt-forward.conf") << std::string(512, '\0');
  ASSERT_EQ(load().problems.size(), 1u);
}

// Every setting of the installed sample, taken in, is one that the daemon knows.
TEST_F(PolicyFile, TheSampleIsValidAsItIsAndWithItsSettingsTakenIn) {
  gchar* text = nullptr;
  ASSERT_TRUE(
      g_file_get_contents(VF_SOURCE_DIR "/contrib/virt-forward.conf", &text, nullptr, nullptr));
  std::string sample = take_string(text);
  write("virt-forward.conf", sample);
  EXPECT_TRUE(load().problems.empty());
  for (std::size_t at = 0; (at = sample.find("\n#", at)) != std::string::npos; ++at)
    if (sample[at + 2] != ' ') sample.erase(at + 1, 1);
  write("virt-forward.conf", sample);
  const LoadedPolicy loaded = load();
  EXPECT_TRUE(loaded.problems.empty()) << loaded.problems.front().text();
  EXPECT_EQ(loaded.policy.files.size(), 11u);
  EXPECT_EQ(loaded.policy.automatic_ports_per_domain, Policy().automatic_ports_per_domain);
  EXPECT_EQ(loaded.policy.automatic, Policy().automatic);
  EXPECT_EQ(loaded.policy.transports, Policy().transports);
  EXPECT_EQ(loaded.policy.forwards_per_domain, Policy().forwards_per_domain);
  EXPECT_EQ(loaded.policy.connections_per_forward, Policy().connections_per_forward);
  EXPECT_EQ(loaded.policy.connections_per_domain, Policy().connections_per_domain);
}

TEST_F(PolicyFile, AFileThatIsNotOneIsNamed) {
  write("virt-forward.conf", "no group\n");
  const LoadedPolicy loaded = load();
  ASSERT_EQ(loaded.problems.size(), 1u);
  EXPECT_NE(loaded.problems[0].text().find("virt-forward.conf"), std::string::npos);
}

}  // namespace
}  // namespace vf
