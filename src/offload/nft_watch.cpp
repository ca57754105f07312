// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nft_watch.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <set>
#include <string>
#include <utility>

#include "glib/source.h"
#include "offload/netlink_socket.h"
#include "offload/nft_ruleset.h"

namespace vf {
namespace {

constexpr std::uint32_t group(unsigned number) {
  return 1u << (number - 1);
}

std::string text_attribute(const nlmsghdr* message, std::size_t header, std::uint16_t type) {
  std::string text;
  for_attributes(message, header, [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == type &&
        mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
      text = mnl_attr_get_str(attribute);
  });
  return text;
}

bool concerns_us(const nlmsghdr* message) {
  if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES) return false;
  const unsigned type = message->nlmsg_type & 0xff;
  if (type == NFT_MSG_NEWGEN) return false;
  if (message->nlmsg_len < NLMSG_LENGTH(sizeof(nfgenmsg))) return false;
  const auto* header = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message));
  if (header->nfgen_family != AF_INET) return false;
  // The name of the table is the first attribute of every other message.
  const auto table = text_attribute(message, sizeof(nfgenmsg), NFTA_TABLE_NAME);
  // Nobody but us can change our own table.
  return table == nft_guard_table || (table == nft_own_table && type == NFT_MSG_DELTABLE);
}

class NetlinkWatch final : public NftWatch {
 public:
  Result<void> start(OnTables on_tables, OnLinks on_links) override {
    auto tables = NetlinkSocket::for_events(NETLINK_NETFILTER, group(NFNLGRP_NFTABLES));
    if (!tables) return Unexpected(std::move(tables).error());
    auto links = NetlinkSocket::for_events(NETLINK_ROUTE, group(RTNLGRP_LINK));
    if (!links) return Unexpected(std::move(links).error());
    tables_.emplace(*std::move(tables));
    links_.emplace(*std::move(links));
    on_tables_ = std::move(on_tables);
    on_links_ = std::move(on_links);
    table_events_ = watch_fd(tables_->fd(), G_IO_IN, [this](GIOCondition) { read_tables(); });
    link_events_ = watch_fd(links_->fd(), G_IO_IN, [this](GIOCondition) { read_links(); });
    return {};
  }

 private:
  void read_tables() {
    bool concerned = false;
    const bool complete = tables_->receive(
        [&](const nlmsghdr* message) { concerned = concerned || concerns_us(message); });
    if (concerned || !complete) on_tables_();
  }

  void read_links() {
    std::set<std::string> names;
    const bool complete = links_->receive([&](const nlmsghdr* message) {
      if (message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK)
        names.emplace(text_attribute(message, sizeof(ifinfomsg), IFLA_IFNAME));
    });
    on_links_(complete ? std::optional(std::move(names)) : std::nullopt);
  }

  OnTables on_tables_;
  OnLinks on_links_;
  std::optional<NetlinkSocket> tables_;
  std::optional<NetlinkSocket> links_;
  Source table_events_;
  Source link_events_;
};

}  // namespace

std::unique_ptr<NftWatch> make_nft_watch() {
  return std::make_unique<NetlinkWatch>();
}

}  // namespace vf
