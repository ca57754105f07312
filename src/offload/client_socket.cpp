// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/client_socket.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cstring>

namespace vf {
namespace {

int ask(NetlinkSocket& diag, std::uint16_t type, std::uint16_t flags, const inet_diag_sockid& id,
        const NetlinkSocket::Each& each) {
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = type;
  request->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  auto* wanted =
      static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(request, sizeof(inet_diag_req_v2)));
  wanted->sdiag_family = AF_INET;
  wanted->sdiag_protocol = IPPROTO_TCP;
  wanted->idiag_states = ~0u;
  wanted->id = id;
  return diag.ask(request, each);
}

}  // namespace

bool abort_client(NetlinkSocket& diag, const Endpoint& local, const Endpoint& remote) {
  inet_diag_sockid id{};
  id.idiag_sport = htons(local.port.number());
  id.idiag_dport = htons(remote.port.number());
  std::memcpy(id.idiag_src, local.address.bytes().data(), 4);
  std::memcpy(id.idiag_dst, remote.address.bytes().data(), 4);
  id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  // Where there is no such connection, the kernel finds whoever listens on `local`, and would end
  // that one.
  bool found = false;
  ask(diag, SOCK_DIAG_BY_FAMILY, 0, id, [&](const nlmsghdr* answer) {
    if (answer->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return;
    const auto* socket = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(answer));
    if (socket->idiag_state == TCP_LISTEN || socket->id.idiag_dport != id.idiag_dport) return;
    std::memcpy(id.idiag_cookie, socket->id.idiag_cookie, sizeof id.idiag_cookie);
    found = true;
  });
  return found && ask(diag, SOCK_DESTROY, NLM_F_ACK, id, [](const nlmsghdr*) {}) == 0;
}

}  // namespace vf
