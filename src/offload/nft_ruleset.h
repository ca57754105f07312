// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What stands in the kernel's packet filter, as nft(8) commands. Two tables of family `ip`:
//
// - `virt_forward` belongs to the daemon's netlink socket ("flags owner"): nobody else can change
//   it, `nft flush ruleset` passes it by, and it goes when the process goes, however that ends. It
//   holds all that takes connections: two maps, and one rule for each.
// - `virt_forward_guard` is a plain table that stays when the process was killed, and which
//   anybody's flush takes away.
//
// Both hold the guard: nothing with a loopback address comes in over a link. So it stands in either
// case, and route_localnet, which opens that door, is set only behind it. Both also have what keeps
// the kernel translating established connections while the other table is away: a chain for address
// translation, and a rule that needs connections tracked.
//
// Only a SYN is translated: a connection that began at the relay before the kernel tracked
// connections stays there.

#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/address.h"
#include "core/vocabulary.h"

namespace vf {

inline constexpr std::string_view nft_own_table = "virt_forward";
inline constexpr std::string_view nft_guard_table = "virt_forward_guard";
inline constexpr std::array<std::string_view, 2> nft_guard_chains{"guard", "established"};

// Where a map's key is `host` and its value `guest`; both IPv4.
struct NftElement {
  Protocol protocol = Protocol::tcp;
  Endpoint host;
  Endpoint guest;
};

// Names that can stand in a command as they are: letters, digits and "-_.:@", as long as a link's
// name can be. (nft reads "*" as a pattern.)
bool is_plain_link_name(std::string_view name);

// Nothing is taken yet.
std::string nft_make_own_table();
// These replace and remove it whether it is there or not, and whatever is in it.
std::string nft_make_guard_table();
std::string nft_remove_guard_table();
std::string nft_remove_own_table();
// Takes nothing any more; the guard stands.
std::string nft_empty_own_table();

// Elements and bridges to take away and to add, for one transaction.
class NftChange {
 public:
  void remove(const NftElement& element);
  void add(const NftElement& element);
  void remove_bridge(const std::string& name);
  void add_bridge(const std::string& name);

  // The commands; empty when there is nothing to do. What is removed goes first.
  std::string text() const;

 private:
  struct Lists {
    std::string tcp;
    std::string udp;
    std::string bridges;
    std::string& of(Protocol protocol) { return protocol == Protocol::tcp ? tcp : udp; }
  };
  static void append_commands(std::string& text, std::string_view verb, const Lists& lists);

  Lists removed_;
  Lists added_;
};

}  // namespace vf
