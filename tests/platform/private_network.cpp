// SPDX-License-Identifier: LGPL-2.1-or-later

#include "private_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

namespace vf::test {
namespace {

bool write_file(const char* path, const std::string& text) {
  const Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::array<std::uint8_t, 6> parse(const std::string& mac) {
  std::array<unsigned, 6> numbers{};
  std::sscanf(mac.c_str(), "%x:%x:%x:%x:%x:%x", &numbers[0], &numbers[1], &numbers[2], &numbers[3],
              &numbers[4], &numbers[5]);
  std::array<std::uint8_t, 6> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(numbers[i]);
  return bytes;
}

constexpr std::array<std::uint8_t, 6> broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct ArpFrame {
  ether_header ethernet;
  ether_arp arp;
} __attribute__((packed));

std::uint16_t checksum(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace

bool enter_private_network() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(uid == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0) return false;
  if (uid != 0 && (!write_file("/proc/self/setgroups", "deny") ||
                   !write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") ||
                   !write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1")))
    return false;
  // No second of waiting before an IPv6 address may be used.
  return write_file("/proc/sys/net/ipv6/conf/default/accept_dad", "0") && ip("link set lo up");
}

bool ip(const std::string& arguments) {
  return std::system(("ip " + arguments).c_str()) == 0;
}

bool add_bridge(const std::string& name, const std::string& addresses) {
  bool good = ip("link add " + name + " type bridge stp_state 0 forward_delay 0");
  std::istringstream list(addresses);
  for (std::string address; list >> address;)
    good = good && ip("address add " + address + " dev " + name);
  return good && ip("link set " + name + " up");
}

std::string mac_of(const std::string& link) {
  std::ifstream file("/sys/class/net/" + link + "/address");
  std::string mac;
  file >> mac;
  if (!mac.empty()) return mac;
  // /sys shows the namespace in which it was mounted.
  FILE* output = popen(("ip -o link show dev " + link).c_str(), "r");
  char line[512] = "";
  const bool read = fgets(line, sizeof line, output) != nullptr;
  pclose(output);
  const char* found = read ? std::strstr(line, "link/ether ") : nullptr;
  return found ? std::string(found + 11, 17) : std::string();
}

FakeGuest::FakeGuest(const std::string& bridge, std::string tap, const std::string& mac)
    : tap_(std::move(tap)), peer_("g" + tap_), mac_(mac) {
  // The guest's side is in this namespace too: no ARP and no IPv6 of the host there.
  if (!ip("link add " + tap_ + " type veth peer name " + peer_) ||
      !ip("link set " + peer_ + " arp off addrgenmode none") ||
      !ip("link set " + tap_ + " addrgenmode none master " + bridge) ||
      !ip("link set " + tap_ + " up") || !ip("link set " + peer_ + " up"))
    return;
  Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
  sockaddr_ll where{};
  where.sll_family = AF_PACKET;
  where.sll_protocol = htons(ETH_P_ALL);
  where.sll_ifindex = static_cast<int>(if_nametoindex(peer_.c_str()));
  // The link's own MAC differs from the guest's: without this the kernel drops unicast frames.
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = where.sll_ifindex;
  promiscuous.mr_type = PACKET_MR_PROMISC;
  if (socket && bind(socket.get(), reinterpret_cast<sockaddr*>(&where), sizeof where) == 0 &&
      setsockopt(socket.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous,
                 sizeof promiscuous) == 0)
    socket_ = std::move(socket);
}

FakeGuest::~FakeGuest() {
  ip("link del " + tap_);
}

void FakeGuest::send(const void* frame, std::size_t size) {
  if (::send(socket_.get(), frame, size, 0) < 0) std::perror("send");
}

void FakeGuest::send_arp(std::uint16_t operation, const Mac& ether_source, const Mac& ether_target,
                         const Mac& sender, const IpAddress& sender_ip, const Mac& target,
                         const IpAddress& target_ip) {
  ArpFrame frame{};
  std::memcpy(frame.ethernet.ether_dhost, ether_target.data(), 6);
  std::memcpy(frame.ethernet.ether_shost, ether_source.data(), 6);
  frame.ethernet.ether_type = htons(ETHERTYPE_ARP);
  frame.arp.ea_hdr.ar_hrd = htons(ARPHRD_ETHER);
  frame.arp.ea_hdr.ar_pro = htons(ETHERTYPE_IP);
  frame.arp.ea_hdr.ar_hln = 6;
  frame.arp.ea_hdr.ar_pln = 4;
  frame.arp.ea_hdr.ar_op = htons(operation);
  std::memcpy(frame.arp.arp_sha, sender.data(), 6);
  std::memcpy(frame.arp.arp_spa, sender_ip.bytes().data(), 4);
  std::memcpy(frame.arp.arp_tha, target.data(), 6);
  std::memcpy(frame.arp.arp_tpa, target_ip.bytes().data(), 4);
  send(&frame, sizeof frame);
}

void FakeGuest::ask(const std::string& address, const std::string& target) {
  ask(address, target, mac_);
}

void FakeGuest::ask(const std::string& address, const std::string& target,
                    const std::string& sender_mac) {
  send_arp(ARPOP_REQUEST, parse(sender_mac), broadcast, parse(sender_mac),
           *IpAddress::parse(address), {}, *IpAddress::parse(target));
}

void FakeGuest::claim(const std::string& address, const std::string& mac,
                      const std::string& receiver_mac) {
  send_arp(ARPOP_REPLY, parse(mac_), parse(receiver_mac), parse(mac), *IpAddress::parse(address),
           parse(receiver_mac), *IpAddress::parse(address));
}

void FakeGuest::chatter(const std::string& source_mac) {
  std::array<std::uint8_t, 60> frame{};
  std::memcpy(frame.data(), broadcast.data(), 6);
  std::memcpy(frame.data() + 6, parse(source_mac).data(), 6);
  frame[12] = 0x88;  // "local experimental"
  frame[13] = 0xb5;
  send(frame.data(), frame.size());
}

std::size_t FakeGuest::receive(std::array<std::uint8_t, 2048>& frame) {
  const ssize_t size = recv(socket_.get(), frame.data(), frame.size(), 0);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

bool FakeGuest::answer(const std::string& address) {
  std::array<std::uint8_t, 2048> buffer;
  if (receive(buffer) < sizeof(ArpFrame)) return false;
  ArpFrame request;
  std::memcpy(&request, buffer.data(), sizeof request);
  const IpAddress mine = *IpAddress::parse(address);
  if (request.ethernet.ether_type != htons(ETHERTYPE_ARP) ||
      request.arp.ea_hdr.ar_op != htons(ARPOP_REQUEST) ||
      std::memcmp(request.arp.arp_tpa, mine.bytes().data(), 4) != 0)
    return false;
  Mac asker{};
  std::memcpy(asker.data(), request.arp.arp_sha, 6);
  send_arp(ARPOP_REPLY, parse(mac_), asker, parse(mac_), mine, asker,
           *IpAddress::from_bytes({request.arp.arp_spa, 4}));
  return true;
}

bool FakeGuest::answer6(const std::string& address) {
  std::array<std::uint8_t, 2048> frame;
  const std::size_t size = receive(frame);
  constexpr std::size_t ip_at = 14;
  constexpr std::size_t icmp_at = ip_at + 40;
  const IpAddress own_address = *IpAddress::parse(address);
  const auto mine = own_address.bytes();
  constexpr std::uint8_t icmpv6 = 58;
  constexpr std::uint8_t solicitation = 135;
  constexpr std::uint8_t advertisement = 136;
  if (size < icmp_at + 24 || frame[12] != 0x86 || frame[13] != 0xdd || frame[ip_at + 6] != icmpv6 ||
      frame[icmp_at] != solicitation || std::memcmp(&frame[icmp_at + 8], mine.data(), 16) != 0)
    return false;
  // Solicited, override; target address; target link-layer address option.
  std::vector<std::uint8_t> icmp{advertisement, 0, 0, 0, 0x60, 0, 0, 0};
  icmp.insert(icmp.end(), mine.begin(), mine.end());
  const Mac own = parse(mac_);
  icmp.insert(icmp.end(), {2, 1});
  icmp.insert(icmp.end(), own.begin(), own.end());
  std::vector<std::uint8_t> pseudo(mine.begin(), mine.end());
  pseudo.insert(pseudo.end(), &frame[ip_at + 8], &frame[ip_at + 24]);
  pseudo.insert(pseudo.end(), {0, 0, 0, static_cast<std::uint8_t>(icmp.size()), 0, 0, 0, icmpv6});
  pseudo.insert(pseudo.end(), icmp.begin(), icmp.end());
  const std::uint16_t sum = checksum(pseudo);
  icmp[2] = static_cast<std::uint8_t>(sum >> 8);
  icmp[3] = static_cast<std::uint8_t>(sum);
  std::vector<std::uint8_t> reply(&frame[6], &frame[12]);
  reply.insert(reply.end(), own.begin(), own.end());
  reply.insert(reply.end(),
               {0x86, 0xdd, 0x60, 0, 0, 0, 0, static_cast<std::uint8_t>(icmp.size()), icmpv6, 255});
  reply.insert(reply.end(), mine.begin(), mine.end());
  reply.insert(reply.end(), &frame[ip_at + 8], &frame[ip_at + 24]);
  reply.insert(reply.end(), icmp.begin(), icmp.end());
  send(reply.data(), reply.size());
  return true;
}

}  // namespace vf::test
