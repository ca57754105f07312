// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A network namespace of the test's own, with bridges, and guests that are nothing but a raw socket
// behind a port: they send what a test wants, also what no honest guest would.

#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/fd.h"

namespace vf::test {

// Moves this process, still single-threaded, to an empty network namespace; as an ordinary user
// with a user namespace around it. False, with errno, when the system refuses.
bool enter_private_network();

// Runs an ip(8) command line without the "ip"; false when it failed.
bool ip(const std::string& arguments);

// A bridge with `address` ("10.9.0.1/24", several separated by spaces), up.
bool add_bridge(const std::string& name, const std::string& addresses);

// A port of a bridge, named as a domain's XML would, and the machine behind it. Without a
// network stack: it answers nothing unless told.
class FakeGuest {
 public:
  FakeGuest(const std::string& bridge, std::string tap, const std::string& mac);
  ~FakeGuest();
  FakeGuest(const FakeGuest&) = delete;
  FakeGuest& operator=(const FakeGuest&) = delete;

  explicit operator bool() const { return static_cast<bool>(socket_); }
  const std::string& mac() const { return mac_; }
  const std::string& tap() const { return tap_; }
  int fd() const { return socket_.get(); }

  // "I am `address`, who has `target`?", as at a first contact.
  void ask(const std::string& address, const std::string& target);
  void ask(const std::string& address, const std::string& target, const std::string& sender_mac);
  // Answers an ARP request that waits on fd(), when it is for `address`; true then. Reads one frame
  // at most.
  bool answer(const std::string& address);
  // The same for a neighbour solicitation.
  bool answer6(const std::string& address);
  // An unsolicited ARP reply to `receiver_mac`, that `address` is at `mac`.
  void claim(const std::string& address, const std::string& mac, const std::string& receiver_mac);
  // A frame without meaning with any source.
  void chatter(const std::string& source_mac);

 private:
  using Mac = std::array<std::uint8_t, 6>;
  void send_arp(std::uint16_t operation, const Mac& ether_source, const Mac& ether_target,
                const Mac& sender, const IpAddress& sender_ip, const Mac& target,
                const IpAddress& target_ip);
  void send(const void* frame, std::size_t size);
  std::size_t receive(std::array<std::uint8_t, 2048>& frame);

  const std::string tap_;
  const std::string peer_;
  const std::string mac_;
  Fd socket_;
};

// The MAC of a link.
std::string mac_of(const std::string& link);

}  // namespace vf::test
