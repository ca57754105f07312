// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/conntrack.h"

#ifdef VF_HAVE_NFTABLES

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <array>
#include <cstring>
#include <utility>

#include "offload/client_socket.h"
#include "offload/netlink_socket.h"

namespace vf {
namespace {

using Phase = TrackedFlow::Phase;

struct DestroyFlow {
  void operator()(nf_conntrack* flow) const { nfct_destroy(flow); }
};
struct DestroyFilter {
  void operator()(nfct_filter_dump* filter) const { nfct_filter_dump_destroy(filter); }
};

nlmsghdr* begin(char* buffer, unsigned type, std::uint16_t flags) {
  nlmsghdr* request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
  request->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(nfgenmsg)));
  header->nfgen_family = AF_INET;
  header->version = NFNETLINK_V0;
  return request;
}

std::optional<Endpoint> endpoint(const nf_conntrack* flow, nf_conntrack_attr address,
                                 nf_conntrack_attr port) {
  if (!nfct_attr_is_set(flow, address) || !nfct_attr_is_set(flow, port)) return std::nullopt;
  std::array<std::uint8_t, 4> bytes{};
  const std::uint32_t raw = nfct_get_attr_u32(flow, address);
  std::memcpy(bytes.data(), &raw, sizeof raw);
  const auto number = Port::from(ntohs(nfct_get_attr_u16(flow, port)));
  if (!number) return std::nullopt;
  return Endpoint{IpAddress::v4(bytes), *number};
}

Phase tcp_phase(std::uint8_t state) {
  switch (state) {
    case TCP_CONNTRACK_SYN_SENT:
    case TCP_CONNTRACK_SYN_SENT2:
    case TCP_CONNTRACK_SYN_RECV:
      return Phase::begun;
    case TCP_CONNTRACK_ESTABLISHED:
    case TCP_CONNTRACK_FIN_WAIT:
    case TCP_CONNTRACK_CLOSE_WAIT:
      return Phase::established;
    default:
      return Phase::over;
  }
}

std::optional<std::uint64_t> bytes(const nf_conntrack* flow, nf_conntrack_attr counter) {
  if (!nfct_attr_is_set(flow, counter)) return std::nullopt;
  return nfct_get_attr_u64(flow, counter);
}

// Nothing for what is not ours by its nature.
std::optional<TrackedFlow> read(const nf_conntrack* flow) {
  if ((nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) == 0) return std::nullopt;
  const std::uint8_t protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO);
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return std::nullopt;
  const auto client = endpoint(flow, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_PORT_SRC);
  const auto host = endpoint(flow, ATTR_ORIG_IPV4_DST, ATTR_ORIG_PORT_DST);
  const auto guest = endpoint(flow, ATTR_REPL_IPV4_SRC, ATTR_REPL_PORT_SRC);
  if (!client || !host || !guest || !client->address.is_loopback() ||
      !host->address.is_loopback() || guest->address.is_loopback())
    return std::nullopt;
  TrackedFlow read{.protocol = protocol == IPPROTO_TCP ? Protocol::tcp : Protocol::udp,
                   .client = *client,
                   .host = *host,
                   .guest = *guest};
  if (read.protocol == Protocol::tcp)
    read.phase = tcp_phase(nfct_get_attr_u8(flow, ATTR_TCP_STATE));
  read.id = nfct_get_attr_u32(flow, ATTR_ID);
  read.bytes_to_guest = bytes(flow, ATTR_ORIG_COUNTER_BYTES);
  read.bytes_from_guest = bytes(flow, ATTR_REPL_COUNTER_BYTES);
  return read;
}

class Conntrack final : public FlowTable {
 public:
  Conntrack(NetlinkSocket tracked, NetlinkSocket sockets)
      : tracked_(std::move(tracked)), sockets_(std::move(sockets)) {}

  Result<std::vector<TrackedFlow>> flows() override {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = begin(buffer.data(), IPCTNL_MSG_CT_GET, NLM_F_DUMP);
    // A kernel that does not know this filter sends everything.
    const std::unique_ptr<nfct_filter_dump, DestroyFilter> filter(nfct_filter_dump_create());
    const nfct_filter_dump_mark translated{.val = IPS_DST_NAT, .mask = IPS_DST_NAT};
    if (!filter) return Unexpected(ErrorCode::failed, "conntrack: no memory");
    nfct_filter_dump_set_attr(filter.get(), NFCT_FILTER_DUMP_STATUS, &translated);
    nfct_nlmsg_build_filter(request, filter.get());
    std::vector<TrackedFlow> flows;
    const int error = tracked_.ask(request, [&](const nlmsghdr* message) {
      // One anew for each: parsing adds to what is there.
      const std::unique_ptr<nf_conntrack, DestroyFlow> entry(nfct_new());
      if (!entry || nfct_nlmsg_parse(message, entry.get()) < 0) return;
      if (auto flow = read(entry.get())) flows.push_back(*std::move(flow));
    });
    if (error != 0) return Unexpected(system_error(error, "tracked connections"));
    return flows;
  }

  Result<void> end(const TrackedFlow& flow) override {
    // First: its reset still has to find the way to the guest.
    if (flow.protocol == Protocol::tcp && flow.phase != Phase::over)
      abort_client(sockets_, flow.client, flow.host);
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = begin(buffer.data(), IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
    nlattr* tuple = mnl_attr_nest_start(request, CTA_TUPLE_ORIG);
    nlattr* addresses = mnl_attr_nest_start(request, CTA_TUPLE_IP);
    mnl_attr_put(request, CTA_IP_V4_SRC, 4, flow.client.address.bytes().data());
    mnl_attr_put(request, CTA_IP_V4_DST, 4, flow.host.address.bytes().data());
    mnl_attr_nest_end(request, addresses);
    nlattr* ports = mnl_attr_nest_start(request, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(request, CTA_PROTO_NUM,
                    flow.protocol == Protocol::tcp ? IPPROTO_TCP : IPPROTO_UDP);
    mnl_attr_put_u16(request, CTA_PROTO_SRC_PORT, htons(flow.client.port.number()));
    mnl_attr_put_u16(request, CTA_PROTO_DST_PORT, htons(flow.host.port.number()));
    mnl_attr_nest_end(request, ports);
    mnl_attr_nest_end(request, tuple);
    // The same addresses may be another connection by now.
    mnl_attr_put_u32(request, CTA_ID, htonl(flow.id));
    const int error = tracked_.ask(request);
    if (error != 0 && error != ENOENT)
      return Unexpected(system_error(error, "forgetting a tracked connection"));
    return {};
  }

 private:
  NetlinkSocket tracked_;
  NetlinkSocket sockets_;
};

}  // namespace

Result<std::unique_ptr<FlowTable>> open_flow_table() {
  auto tracked = NetlinkSocket::for_questions(NETLINK_NETFILTER);
  if (!tracked) return Unexpected(std::move(tracked).error());
  auto sockets = NetlinkSocket::for_questions(NETLINK_SOCK_DIAG);
  if (!sockets) return Unexpected(std::move(sockets).error());
  return std::unique_ptr<FlowTable>(
      std::make_unique<Conntrack>(*std::move(tracked), *std::move(sockets)));
}

}  // namespace vf

#else

namespace vf {

Result<std::unique_ptr<FlowTable>> open_flow_table() {
  return Unexpected(ErrorCode::not_supported, "this build is without nftables");
}

}  // namespace vf

#endif
