// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Endpoints as they are written on the command line of the stand-alone relay:
//
//   tcp:127.0.0.1:8080   tcp:[::1]:8080   tcp:[fe80::1%eth0]:8080
//   udp:127.0.0.1:5353   with udp on both sides
//   unix:/run/web.sock   unix:@name       unix:/run/web.sock,mode=0660,user=web,group=web
//   vsock:3:1010         vsock:any:1010
//
// Addresses are literal: a name is not looked up. Where the relay listens, port 0 is any free one.

#pragma once

#include <optional>
#include <string_view>
#include <variant>

#include "base/relay_endpoint.h"
#include "base/result.h"
#include "base/socket_file.h"
#include "wire/relay.h"

namespace vf {

struct InetListen {
  IpAddress address;
  std::optional<Port> port;  // absent: any free one
  RelayProtocol protocol = RelayProtocol::stream;
};

struct UnixListen {
  UnixEndpoint endpoint;
  SocketAccess access{0600, std::nullopt, std::nullopt};  // of a path's file
};

using ListenArgument = std::variant<InetListen, UnixListen, VsockEndpoint>;

struct ConnectArgument {
  RelayEndpoint endpoint;
  RelayProtocol protocol = RelayProtocol::stream;
};

// InvalidArgument, naming the argument and what is wrong with it.
Result<ListenArgument> parse_listen_argument(std::string_view text);
Result<ConnectArgument> parse_connect_argument(std::string_view text);

}  // namespace vf
