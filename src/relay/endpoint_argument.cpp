// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/endpoint_argument.h"

#include <net/if.h>

#include <string>
#include <utility>

#include "base/printable.h"

namespace vf {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<ListenArgument> listen() const {
    const auto [kind, rest] = split();
    if (kind != "tcp") return unknown_kind();
    return inet(rest);
  }
  Result<ConnectArgument> connect() const {
    const auto [kind, rest] = split();
    if (kind != "tcp") return unknown_kind();
    const auto parsed = inet(rest);
    if (!parsed) return Unexpected(parsed.error());
    if (!parsed->port) return wrong("port 0 is nothing to connect to");
    return ConnectArgument{Endpoint{parsed->address, *parsed->port}};
  }

 private:
  std::pair<std::string_view, std::string_view> split() const {
    const auto colon = text_.find(':');
    if (colon == std::string_view::npos) return {};
    return {text_.substr(0, colon), text_.substr(colon + 1)};
  }

  Unexpected wrong(std::string_view what) const {
    return Unexpected(ErrorCode::invalid_argument,
                      '"' + printable(text_, 200) + "\": " + std::string(what));
  }
  Unexpected unknown_kind() const { return wrong("an endpoint is written tcp:ADDRESS:PORT"); }

  Result<ListenArgument> inet(std::string_view rest) const {
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
    if (port == "0") return ListenArgument{*address, std::nullopt};
    const auto number = Port::parse(port);
    if (!number)
      return wrong("\"" + printable(port, 40) + "\" is not a port (a number from 1 to 65535)");
    return ListenArgument{*address, number};
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
