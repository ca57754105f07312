// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/port_holder.h"

#include <algorithm>

#include "base/printable.h"
#include "doctor/reading.h"
#include "guest/process.h"
#include "guest/socket_table.h"

namespace vf {

bool PortHolder::ours() const {
  return process == "virt-forwardd" || process.starts_with("virt-forward-re");
}

std::string text(const PortHolder& holder) {
  const std::string user = "user " + user_name(holder.uid);
  if (holder.pid == 0) return "a program of " + user + " (run as root to see the process)";
  return printable(holder.process, 64) + " (process " + std::to_string(holder.pid) + ", " + user +
         ')';
}

void PortHolders::add(Protocol protocol, PortHolder holder) {
  std::vector<PortHolder>& known = holders_[{protocol, holder.port}];
  const auto same = std::ranges::find_if(
      known, [&](const PortHolder& one) { return one.pid == holder.pid && one.uid == holder.uid; });
  if (same == known.end())
    known.push_back(std::move(holder));
  else
    same->addresses.insert(same->addresses.end(), holder.addresses.begin(), holder.addresses.end());
}

std::vector<PortHolder> PortHolders::of(Protocol protocol, Port port) const {
  const auto found = holders_.find({protocol, port});
  return found == holders_.end() ? std::vector<PortHolder>() : found->second;
}

PortHolders PortHolders::read() {
  PortHolders holders;
  std::vector<guest::BoundSocket> sockets;
  guest::KernelSocketTable table;
  table.dump(false, sockets);
  table.dump(true, sockets);
  std::vector<std::uint32_t> inodes;
  for (const guest::BoundSocket& socket : sockets)
    inodes.push_back(socket.inode);
  const auto pids = guest::find_holders(inodes);
  std::map<std::uint32_t, guest::ProcessText> texts;
  for (const guest::BoundSocket& socket : sockets) {
    PortHolder holder;
    holder.addresses = {socket.key.address};
    holder.port = socket.key.port;
    holder.uid = socket.uid;
    if (const auto pid = pids.find(socket.inode); pid != pids.end()) {
      holder.pid = pid->second;
      auto [text, made] = texts.try_emplace(holder.pid);
      if (made) text->second = guest::read_process(holder.pid);
      holder.process = text->second.name;
      holder.command = text->second.command;
    }
    holders.add(socket.key.udp ? Protocol::udp : Protocol::tcp, std::move(holder));
  }
  return holders;
}

}  // namespace vf
