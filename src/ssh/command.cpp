// SPDX-License-Identifier: LGPL-2.1-or-later

#include "ssh/command.h"

#include <cstdlib>
#include <optional>
#include <string_view>

#include "wire/ssh.h"

namespace vf {
namespace {

// Nothing, where it would be a variable to ssh, which has no way to say that it is none.
std::optional<std::string> without_tokens(std::string_view text) {
  if (text.find("${") != text.npos || text.find('\0') != text.npos) return std::nullopt;
  std::string plain;
  for (const char character : text) {
    if (character == '%') plain += '%';
    plain += character;
  }
  return plain;
}

// One word of a configuration line.
std::optional<std::string> quoted(std::string_view text) {
  auto plain = without_tokens(text);
  if (!plain || plain->find_first_of("\"\\\r\n") != plain->npos) return std::nullopt;
  return '"' + *plain + '"';
}

// A path between the colons of -L.
std::optional<std::string> field(std::string_view path) {
  const auto plain = without_tokens(path);
  if (!plain) return std::nullopt;
  std::string escaped;
  for (const char character : *plain) {
    if (character == ':' || character == '\\') escaped += '\\';
    escaped += character;
  }
  return escaped;
}

// Of a path that the shell is told.
bool is_shell_safe(std::string_view path) {
  return path.find_first_of("'\r\n") == path.npos;
}

Unexpected unsayable(std::string_view what) {
  return Unexpected(ErrorCode::invalid_argument,
                    std::string(what) + " has characters that cannot be said to ssh");
}

std::string host_text(const IpAddress& address) {
  const std::string scope = address.scope() ? '%' + std::to_string(address.scope()) : "";
  return address.text() + scope;
}

std::string target_host(const AgentEndpoint& target) {
  return target.address ? target.address->text() : "localhost";
}

}  // namespace

Result<Arguments> master_arguments(const MasterCommand& command) {
  const auto control = without_tokens(command.control_path);
  const auto known_hosts = quoted(command.known_hosts);
  const auto key = quoted(command.key_path);
  if (!control || !known_hosts) return unsayable("the path of the state or runtime directory");
  if (!key) return unsayable("the path of the key");
  if (!is_ssh_user(command.user)) return unsayable("the user's name");

  // -F none: no configuration, of the user or of the host. The rest is what may not depend on
  // anybody's defaults.
  Arguments arguments{command.ssh, "-F", "none", "-N", "-T", "-a", "-x", "-M", "-S", *control};
  const auto option = [&](std::string text) {
    arguments.emplace_back("-o");
    arguments.push_back(std::move(text));
  };
  // Who it is: the first contact pins the key, from then on there is no other, of whatever type.
  option("UserKnownHostsFile=" + *known_hosts);
  option("GlobalKnownHostsFile=/dev/null");
  option("HostKeyAlias=" + command.uuid);
  option("StrictHostKeyChecking=accept-new");
  option("CheckHostIP=no");
  option("HashKnownHosts=no");
  option("KnownHostsCommand=none");
  option("NoHostAuthenticationForLocalhost=no");
  option("UpdateHostKeys=no");
  option("VerifyHostKeyDNS=no");
  // Who we are.
  option("BatchMode=yes");
  option("PreferredAuthentications=publickey");
  option("PubkeyAuthentication=yes");
  option("PasswordAuthentication=no");
  option("KbdInteractiveAuthentication=no");
  option("HostbasedAuthentication=no");
  option("GSSAPIAuthentication=no");
  option("AddKeysToAgent=no");
  option("PKCS11Provider=none");
  if (!command.key_path.empty()) {
    option("IdentitiesOnly=yes");
    option("IdentityAgent=none");
    option("CertificateFile=none");
    option("IdentityFile=" + *key);  // -i looks for a name with "%%" as it is
  }
  // What it does: carry what we add later, and run nothing.
  option("ClearAllForwardings=yes");
  option("ControlPersist=no");
  option("EscapeChar=none");
  option("ExitOnForwardFailure=no");
  option("ForwardAgent=no");
  option("ForwardX11=no");
  option("GatewayPorts=no");
  option("LocalCommand=none");
  option("PermitLocalCommand=no");
  option("ProxyJump=none");
  option("RemoteCommand=none");
  option("StreamLocalBindMask=0117");
  option("StreamLocalBindUnlink=yes");
  option("Tunnel=no");
  option("CanonicalizeHostname=no");
  option("Compression=no");
  option("ConnectionAttempts=1");
  option("ConnectTimeout=10");
  option("ServerAliveInterval=5");
  option("ServerAliveCountMax=3");
  option("TCPKeepAlive=yes");
  option("LogLevel=DEBUG1");  // says which forward a failed connection belongs to
  arguments.insert(arguments.end(), {"-l", command.user});

  if (const auto* address = std::get_if<Endpoint>(&command.destination)) {
    option("ProxyCommand=none");
    arguments.insert(arguments.end(), {"-p", std::to_string(address->port.number()), "--",
                                       host_text(address->address)});
    return arguments;
  }
  const auto* vsock = std::get_if<VsockEndpoint>(&command.destination);
  const auto program = without_tokens(command.own_program);
  if (!vsock) return Unexpected(ErrorCode::invalid_argument, "neither an address nor a vsock CID");
  if (!program || !is_shell_safe(*program)) return unsayable("the path of virt-forward-ssh");
  option("ProxyCommand='" + *program + "' --connect-vsock=" + std::to_string(vsock->cid) + ':' +
         std::to_string(vsock->port));
  option("ProxyUseFdpass=yes");
  arguments.insert(arguments.end(), {"--", "vsock-" + std::to_string(vsock->cid)});
  return arguments;
}

Result<Arguments> forward_arguments(const std::string& ssh, ForwardOperation operation,
                                    const std::string& control_path, const std::string& path,
                                    const AgentEndpoint& target) {
  const auto control = without_tokens(control_path);
  const auto from = field(path);
  if (!control || !from) return unsayable("the path of the runtime directory");
  std::string to;
  if (target.port) {
    const std::string host = target_host(target);
    to = (host.find(':') == host.npos ? host : '[' + host + ']') + ':' +
         std::to_string(target.port->number());
  } else {
    const auto escaped = field(target.path);
    if (!escaped) return unsayable("the path of the guest's socket");
    to = *escaped;
  }
  return Arguments{ssh,
                   "-F",
                   "none",
                   "-S",
                   *control,
                   "-o",
                   "BatchMode=yes",
                   "-o",
                   "ControlMaster=no",
                   "-o",
                   "LogLevel=ERROR",
                   "-o",
                   "PermitLocalCommand=no",
                   "-o",
                   "ProxyCommand=false",
                   "-O",
                   operation == ForwardOperation::forward ? "forward" : "cancel",
                   "-L",
                   *from + ':' + to,
                   "--",
                   "guest"};
}

std::string log_spelling(const AgentEndpoint& target) {
  if (!target.port) return target.path + " port -2";
  return target_host(target) + " port " + std::to_string(target.port->number());
}

std::vector<std::string> ssh_environment(bool own_keys) {
  std::vector<std::string> environment{"PATH=/usr/bin:/bin", "SHELL=/bin/sh", "LC_ALL=C"};
  const auto pass = [&](const char* name) {
    if (const char* const value = std::getenv(name))
      environment.push_back(std::string(name) + '=' + value);
  };
  pass("HOME");
  if (own_keys) pass("SSH_AUTH_SOCK");
  return environment;
}

}  // namespace vf
