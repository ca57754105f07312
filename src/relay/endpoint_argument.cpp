// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/endpoint_argument.h"

#include <grp.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <pwd.h>

#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include "base/printable.h"

namespace vf {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<ListenArgument> listen() const {
    const auto [kind, rest] = split();
    if (kind == "tcp" || kind == "udp") return as<ListenArgument>(inet(kind, rest));
    if (kind == "unix") return as<ListenArgument>(unix_listen(rest));
    if (kind == "vsock") return as<ListenArgument>(vsock(rest, true));
    return unknown_kind();
  }

  Result<ConnectArgument> connect() const {
    const auto [kind, rest] = split();
    if (kind == "unix") return as<ConnectArgument>(unix_socket(rest));
    if (kind == "vsock") return as<ConnectArgument>(vsock(rest, false));
    if (kind != "tcp" && kind != "udp") return unknown_kind();
    const auto parsed = inet(kind, rest);
    if (!parsed) return Unexpected(parsed.error());
    if (!parsed->port) return wrong("port 0 is nothing to connect to");
    return ConnectArgument{Endpoint{parsed->address, *parsed->port}, parsed->protocol};
  }

 private:
  std::pair<std::string_view, std::string_view> split() const {
    const auto colon = text_.find(':');
    if (colon == std::string_view::npos) return {};
    return {text_.substr(0, colon), text_.substr(colon + 1)};
  }

  template <typename To, typename From>
  static Result<To> as(Result<From> parsed) {
    if (!parsed) return Unexpected(std::move(parsed).error());
    return To{std::move(*parsed)};
  }

  Unexpected wrong(std::string_view what) const {
    return Unexpected(ErrorCode::invalid_argument,
                      '"' + printable(text_, 200) + "\": " + std::string(what));
  }
  Unexpected unknown_kind() const {
    return wrong(
        "an endpoint is written tcp:ADDRESS:PORT, udp:ADDRESS:PORT, unix:PATH or vsock:CID:PORT");
  }

  Result<InetListen> inet(std::string_view kind, std::string_view rest) const {
    const auto protocol = kind == "udp" ? RelayProtocol::datagram : RelayProtocol::stream;
    const auto colon = rest.rfind(':');
    if (colon == std::string_view::npos || rest.ends_with(']')) return wrong("the port is missing");
    std::string_view host = rest.substr(0, colon);
    const std::string_view port = rest.substr(colon + 1);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto address = literal(host);
    if (!address) return Unexpected(address.error());
    if (address->is_v4() == bracketed)
      return wrong(bracketed
                       ? "only an IPv6 address is written in brackets"
                       : "an IPv6 address is written in brackets: [" + std::string(host) + "]");
    if (port == "0") return InetListen{*address, std::nullopt, protocol};
    const auto number = Port::parse(port);
    if (!number)
      return wrong("\"" + printable(port, 40) + "\" is not a port (a number from 1 to 65535)");
    return InetListen{*address, number, protocol};
  }

  Result<IpAddress> literal(std::string_view host) const {
    const auto percent = host.find('%');
    const auto address = IpAddress::parse(host.substr(0, percent));
    if (!address)
      return wrong("\"" + printable(host, 100) + "\" is not an IPv4 or IPv6 address" +
                   (host == "localhost" ? ": write 127.0.0.1 or [::1]" : ""));
    if (percent == std::string_view::npos) {
      if (address->is_link_local() && !address->is_v4())
        return wrong("a link-local address needs its interface: [" + address->text() + "%eth0]");
      return *address;
    }
    const std::string interface(host.substr(percent + 1));
    const unsigned index = if_nametoindex(interface.c_str());
    if (address->is_v4() || !address->is_link_local())
      return wrong("only a link-local IPv6 address has an interface");
    if (index == 0) return wrong("no interface \"" + printable(interface, 40) + '"');
    return *IpAddress::from_bytes(address->bytes(), index);
  }

  Result<UnixEndpoint> unix_socket(std::string_view path) const {
    const UnixEndpoint endpoint{std::string(path)};
    if (path.empty() || path == "@") return wrong("the path is missing");
    if (!endpoint.abstract() && !path.starts_with('/'))
      return wrong("a path begins with / (and a name in the abstract namespace with @)");
    if (!socket_address(endpoint)) return wrong("a socket's path has at most 107 bytes");
    return endpoint;
  }

  Result<UnixListen> unix_listen(std::string_view rest) const {
    const auto endpoint = unix_socket(rest.substr(0, rest.find(',')));
    if (!endpoint) return Unexpected(endpoint.error());
    UnixListen listen{*endpoint};
    while (rest.find(',') != std::string_view::npos) {
      rest.remove_prefix(rest.find(',') + 1);
      const auto set = option(rest.substr(0, rest.find(',')), listen.access);
      if (!set) return Unexpected(set.error());
      if (endpoint->abstract()) return wrong("an abstract name has no file: no mode, no owner");
    }
    return listen;
  }

  Result<void> option(std::string_view setting, SocketAccess& access) const {
    const auto equals = setting.find('=');
    const std::string_view name = setting.substr(0, equals);
    const std::string value(equals == std::string_view::npos ? "" : setting.substr(equals + 1));
    if (name == "mode") {
      unsigned mode = 0;
      const char* const end = value.data() + value.size();
      const auto read = std::from_chars(value.data(), end, mode, 8);
      if (value.empty() || read.ptr != end || read.ec != std::errc() || mode > 0777)
        return wrong("mode=" + printable(value, 40) + " is not a mode, such as 0660");
      access.mode = mode;
    } else if (name == "user") {
      const passwd* const entry = getpwnam(value.c_str());
      if (!entry) return wrong("no user \"" + printable(value, 40) + '"');
      access.user = entry->pw_uid;
    } else if (name == "group") {
      const ::group* const entry = getgrnam(value.c_str());
      if (!entry) return wrong("no group \"" + printable(value, 40) + '"');
      access.group = entry->gr_gid;
    } else {
      return wrong("unknown option \"" + printable(setting, 40) +
                   "\": there are mode=, user=, group=");
    }
    return {};
  }

  Result<VsockEndpoint> vsock(std::string_view rest, bool listens) const {
    const auto colon = rest.find(':');
    if (colon == std::string_view::npos) return wrong("the port is missing");
    VsockEndpoint endpoint;
    const std::string_view cid = rest.substr(0, colon);
    if (listens && cid == "any")
      endpoint.cid = VMADDR_CID_ANY;
    else if (!number(cid, endpoint.cid) || endpoint.cid == VMADDR_CID_ANY)
      return wrong("\"" + printable(cid, 40) + "\" is not a CID (a number" +
                   (listens ? ", or any)" : ")"));
    if (!number(rest.substr(colon + 1), endpoint.port) || endpoint.port == VMADDR_PORT_ANY)
      return wrong("\"" + printable(rest.substr(colon + 1), 40) + "\" is not a vsock port");
    return endpoint;
  }

  static bool number(std::string_view digits, std::uint32_t& value) {
    const char* const end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, value);
    return !digits.empty() && read.ptr == end && read.ec == std::errc();
  }

  std::string_view text_;
};

}  // namespace

Result<ListenArgument> parse_listen_argument(std::string_view text) {
  return Parser(text).listen();
}

Result<ConnectArgument> parse_connect_argument(std::string_view text) {
  return Parser(text).connect();
}

}  // namespace vf
