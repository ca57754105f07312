// SPDX-License-Identifier: LGPL-2.1-or-later

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>

#include "doctor/firewall.h"
#include "doctor/library.h"
#include "doctor/reading.h"

// libnftables' stable interface, as nftables/libnftables.h declares it: without the header so that
// the doctor can be built where the library is not.
struct nft_ctx;

namespace vf {
namespace {

constexpr char links_folder[] = "/sys/class/net";
constexpr unsigned json_flag = 1u << 4;  // NFT_CTX_OUTPUT_JSON

struct NftLists {
  std::string ruleset;  // JSON
  std::string chains;   // text, for what JSON leaves out
};

Result<NftLists> list_ruleset() {
  const auto library = Library::load("libnftables.so.1");
  if (!library) return Unexpected(library.error());
  auto* const make = library->function<nft_ctx*(std::uint32_t)>("nft_ctx_new");
  auto* const free = library->function<void(nft_ctx*)>("nft_ctx_free");
  auto* const buffer = library->function<int(nft_ctx*)>("nft_ctx_buffer_output");
  auto* const buffer_errors = library->function<int(nft_ctx*)>("nft_ctx_buffer_error");
  auto* const set_flags = library->function<void(nft_ctx*, unsigned)>("nft_ctx_output_set_flags");
  auto* const run = library->function<int(nft_ctx*, const char*)>("nft_run_cmd_from_buffer");
  auto* const output = library->function<const char*(nft_ctx*)>("nft_ctx_get_output_buffer");
  auto* const errors = library->function<const char*(nft_ctx*)>("nft_ctx_get_error_buffer");
  if (!make || !free || !buffer || !buffer_errors || !set_flags || !run || !output || !errors)
    return Unexpected(ErrorCode::not_supported, "libnftables is of another kind");
  const std::unique_ptr<nft_ctx, decltype(free)> context(make(0), free);
  if (!context) return Unexpected(ErrorCode::failed, "libnftables cannot be set up");
  buffer(context.get());
  buffer_errors(context.get());
  NftLists lists;
  const auto list = [&](unsigned flags, const char* command, std::string& into) {
    set_flags(context.get(), flags);
    if (run(context.get(), command) != 0) return false;
    into = output(context.get());
    return true;
  };
  if (!list(json_flag, "list ruleset", lists.ruleset) || !list(0, "list chains", lists.chains)) {
    std::string said = errors(context.get());
    return Unexpected(ErrorCode::failed,
                      "nftables cannot be read: " + said.substr(0, said.find('\n')));
  }
  return lists;
}

// Empty where the program is not installed: then there is nothing of its kind, or nothing that the
// other readings miss.
std::string saved(const std::string& program, FirewallFacts& facts) {
  if (access(("/usr/sbin/" + program).c_str(), X_OK) != 0) return {};
  auto text = output_of({"/usr/sbin/" + program});
  if (text) return *text;
  facts.unread.push_back({ErrorCode::failed, text.error().message});
  return {};
}

void append(std::vector<FilterTable>& to, std::vector<FilterTable> from) {
  for (FilterTable& table : from)
    to.push_back(std::move(table));
}

void read_links(FirewallFacts& facts) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return;
  for (const ifaddrs* at = list; at; at = at->ifa_next) {
    if (!at->ifa_addr) continue;
    std::optional<IpAddress> address;
    if (at->ifa_addr->sa_family == AF_INET) {
      const auto* const v4 = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
      address =
          IpAddress::from_bytes(std::span(reinterpret_cast<const std::uint8_t*>(&v4->sin_addr), 4));
    } else if (at->ifa_addr->sa_family == AF_INET6) {
      const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr);
      address = IpAddress::from_bytes(std::span(v6->sin6_addr.s6_addr, 16));
    }
    if (address) facts.links[at->ifa_name].push_back(*address);
  }
  freeifaddrs(list);
}

// Where a bridge has learned the hardware addresses to be, as the kernel lays it out.
struct LearnedAddress {
  std::uint8_t mac[6];
  std::uint8_t port_low;
  std::uint8_t is_local;
  std::uint32_t age;
  std::uint8_t port_high;
  std::uint8_t padding;
  std::uint16_t unused;
};
static_assert(sizeof(LearnedAddress) == 16);

std::string mac_text(const std::uint8_t (&mac)[6]) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                mac[4], mac[5]);
  return text;
}

void read_bridges(FirewallFacts& facts) {
  std::map<std::string, std::map<std::string, std::string>> learned;  // bridge, address, port
  for (const std::string& link : names_in(links_folder)) {
    const std::string place = std::string(links_folder) + '/' + link;
    if (access((place + "/brif").c_str(), F_OK) != 0) continue;
    std::vector<std::string>& ports = facts.bridges[link] = names_in(place + "/brif");
    std::map<unsigned long, std::string> numbers;
    for (const std::string& port : ports)
      if (const auto number = read_text(place + "/brif/" + port + "/port_no", 16))
        numbers[std::strtoul(number->c_str(), nullptr, 16)] = port;
    const auto table = read_text(place + "/brforward");
    for (std::size_t at = 0; table && at + sizeof(LearnedAddress) <= table->size();
         at += sizeof(LearnedAddress)) {
      LearnedAddress entry;
      std::memcpy(&entry, table->data() + at, sizeof entry);
      const auto port = numbers.find(entry.port_low | entry.port_high << 8u);
      if (!entry.is_local && port != numbers.end())
        learned[link][mac_text(entry.mac)] = port->second;
    }
  }
  // "IP address  HW type  Flags  HW address  Mask  Device"; IPv6 has no such file.
  const auto known = read_text("/proc/net/arp");
  std::istringstream lines(known ? *known : "");
  std::string address, type, flags, mac, mask, link;
  std::getline(lines, address);
  while (lines >> address >> type >> flags >> mac >> mask >> link) {
    const auto ip = IpAddress::parse(address);
    if (!ip || flags == "0x0") continue;
    const auto& macs = learned[link];
    const auto port = macs.find(mac);
    facts.neighbours[{link, *ip}] = {mac, port == macs.end() ? "" : port->second};
  }
}

// iptables-legacy's programs load its modules, and with them its chains: they are asked only where
// those are there.
bool legacy_used(const char* family) {
  const auto tables = read_text(std::string("/proc/net/") + family + "_tables_names", 4096);
  return tables && !tables->empty();
}

}  // namespace

FirewallFacts read_firewall() {
  FirewallFacts facts;
  read_links(facts);
  read_bridges(facts);
  if (geteuid() != 0) {
    facts.unread.push_back(
        {ErrorCode::not_allowed, "whether a firewall is in the way is for root to see"});
    return facts;
  }
  using Tool = FilterTable::Tool;
  const std::string v4 = saved("iptables-nft-save", facts);
  const std::string v6 = saved("ip6tables-nft-save", facts);
  append(facts.tables, read_iptables_save(v4, Tool::iptables_nft, "ip"));
  append(facts.tables, read_iptables_save(v6, Tool::iptables_nft, "ip6"));
  if (legacy_used("ip"))
    append(facts.tables,
           read_iptables_save(saved("iptables-legacy-save", facts), Tool::iptables_legacy, "ip"));
  if (legacy_used("ip6"))
    append(facts.tables,
           read_iptables_save(saved("ip6tables-legacy-save", facts), Tool::iptables_legacy, "ip6"));
  const auto lists = list_ruleset();
  if (!lists) {
    facts.unread.push_back(lists.error());
    return facts;
  }
  auto tables = read_nft_ruleset(lists->ruleset, !v4.empty() || !v6.empty(), lists->chains);
  if (tables)
    append(facts.tables, std::move(*tables));
  else
    facts.unread.push_back(tables.error());
  return facts;
}

}  // namespace vf
