// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/redirect_sockets.h"

#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

namespace vf {
namespace {

constexpr std::size_t buffer_size = 32768;

constexpr std::uint32_t bit(int state) {
  return 1u << state;
}

constexpr std::uint32_t established =
    bit(TCP_ESTABLISHED) | bit(TCP_FIN_WAIT1) | bit(TCP_FIN_WAIT2) | bit(TCP_CLOSE_WAIT);
constexpr std::uint32_t all =
    established | bit(TCP_SYN_SENT) | bit(TCP_CLOSING) | bit(TCP_LAST_ACK);

// Of the one map that was asked for: each of its values lies in an attribute of its own, three
// deep.
struct Found {
  const redirect_mark* mark = nullptr;
};

int find_value(const nlattr* attribute, void* found) {
  if (mnl_attr_get_type(attribute) == SK_DIAG_BPF_STORAGE_MAP_VALUE &&
      mnl_attr_get_payload_len(attribute) == sizeof(redirect_mark))
    static_cast<Found*>(found)->mark =
        static_cast<const redirect_mark*>(mnl_attr_get_payload(attribute));
  return MNL_CB_OK;
}

int find_storage(const nlattr* attribute, void* found) {
  return mnl_attr_parse_nested(attribute, find_value, found);
}

int find_storages(const nlattr* attribute, void* found) {
  if (mnl_attr_get_type(attribute) != INET_DIAG_SK_BPF_STORAGES) return MNL_CB_OK;
  return mnl_attr_parse_nested(attribute, find_storage, found);
}

// Null when the socket has none.
const redirect_mark* mark_of(const nlmsghdr* message) {
  Found found;
  mnl_attr_parse(message, sizeof(inet_diag_msg), find_storages, &found);
  return found.mark;
}

}  // namespace

RedirectSockets::~RedirectSockets() {
  mnl_socket_close(socket_);
}

Result<std::unique_ptr<RedirectSockets>> RedirectSockets::open(int map) {
  mnl_socket* socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
  if (!socket) return Unexpected(system_error(errno, "socket diagnosis"));
  std::unique_ptr<RedirectSockets> sockets(new RedirectSockets(socket, map));
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
    return Unexpected(system_error(errno, "socket diagnosis"));
  const auto listed = sockets->list(Which::all);
  if (!listed) return Unexpected(listed.error());
  // Nobody has this one: a kernel that ends sockets does not find it.
  Socket nobody{AF_INET};
  nobody.id.idiag_cookie[0] = nobody.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (auto ended = sockets->destroy(nobody); !ended) return Unexpected(ended.error());
  return sockets;
}

// Calls `each` for every message of the answer; the errno value that the kernel answered, or 0.
int RedirectSockets::ask(nlmsghdr* request, const std::function<void(const nlmsghdr*)>& each) {
  request->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_, request, request->nlmsg_len) < 0) return errno;
  alignas(nlmsghdr) std::array<char, buffer_size> buffer;
  while (true) {
    const ssize_t length = mnl_socket_recvfrom(socket_, buffer.data(), buffer.size());
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return errno;
    auto left = static_cast<int>(length);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;
      if (message->nlmsg_type == NLMSG_ERROR)
        return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
      if (message->nlmsg_type == NLMSG_DONE) {
        // A dump that failed on the way says so here.
        int status = 0;
        if (mnl_nlmsg_get_payload_len(message) >= sizeof status)
          std::memcpy(&status, mnl_nlmsg_get_payload(message), sizeof status);
        return status < 0 ? -status : 0;
      }
      each(message);
    }
  }
}

Result<std::vector<RedirectSockets::Socket>> RedirectSockets::list(Which which) {
  std::vector<Socket> found;
  // A socket that others come and go beside may be shown twice.
  std::set<std::pair<std::uint32_t, std::uint32_t>> cookies;
  for (const int family : {AF_INET, AF_INET6}) {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    auto* wanted = static_cast<inet_diag_req_v2*>(
        mnl_nlmsg_put_extra_header(request, sizeof(inet_diag_req_v2)));
    wanted->sdiag_family = static_cast<std::uint8_t>(family);
    wanted->sdiag_protocol = IPPROTO_TCP;
    wanted->idiag_states = which == Which::all ? all : established;
    nlattr* nest = mnl_attr_nest_start(request, INET_DIAG_REQ_SK_BPF_STORAGES);
    mnl_attr_put_u32(request, SK_DIAG_BPF_STORAGE_REQ_MAP_FD, static_cast<std::uint32_t>(map_));
    mnl_attr_nest_end(request, nest);
    const int error = ask(request, [&](const nlmsghdr* message) {
      if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
          mnl_nlmsg_get_payload_len(message) < sizeof(inet_diag_msg))
        return;
      const redirect_mark* mark = mark_of(message);
      if (!mark) return;
      const auto* shown = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(message));
      Socket socket{shown->idiag_family, shown->id, {}};
      std::memcpy(&socket.mark, mark, sizeof socket.mark);
      if (cookies.emplace(shown->id.idiag_cookie[0], shown->id.idiag_cookie[1]).second)
        found.push_back(socket);
    });
    // A kernel without IPv6 has no such sockets.
    if (error == ENOENT && family == AF_INET6) continue;
    if (error != 0) return Unexpected(system_error(error, "list of redirected sockets"));
  }
  return found;
}

Result<void> RedirectSockets::destroy(const Socket& socket) {
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = SOCK_DESTROY;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  auto* which =
      static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(request, sizeof(inet_diag_req_v2)));
  which->sdiag_family = socket.family;
  which->sdiag_protocol = IPPROTO_TCP;
  which->idiag_states = all;
  which->id = socket.id;
  const int error = ask(request, [](const nlmsghdr*) {});
  if (error == 0 || error == ENOENT) return {};
  if (error == EOPNOTSUPP)
    return Unexpected(ErrorCode::not_supported,
                      "this kernel cannot end a socket (INET_DIAG_DESTROY)");
  return Unexpected(system_error(error, "end of a redirected socket"));
}

}  // namespace vf
