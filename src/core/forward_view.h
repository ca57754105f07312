// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What people and programs see of forwards and domains: the content of D-Bus objects and of the
// JSON of `virt-forward list`.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "core/vocabulary.h"

namespace vf {

struct ProcessView {
  std::string name;
  std::int64_t pid = 0;
  std::string command;
  friend bool operator==(const ProcessView&, const ProcessView&) = default;
};

// What was made of one way of serving a forward, transports first, in order of preference.
struct WayView {
  std::string way;  // "tcp", ..., "redirect", ...
  WayState state = WayState::rejected;
  std::string reason;  // why it is rejected, in words; else empty
  friend bool operator==(const WayView&, const WayView&) = default;
};

// One forwarded port (a definition with a range gives one per port) or socket. Absent is unknown.
struct ForwardView {
  std::string domain;      // name of the domain
  std::string uuid;        // of the domain
  std::string id;          // unique within the domain; see forward_id()
  std::string definition;  // identity of the definition that it comes from
  std::string name;
  std::string label;
  Protocol protocol = Protocol::tcp;

  std::optional<IpAddress> guest_address;
  std::optional<Port> guest_port;
  std::string guest_socket;

  std::vector<IpAddress> host_addresses;  // where it really listens
  std::optional<Port> host_port;          // the port really used
  std::optional<Port> requested_port;     // absent: any free port was asked for
  std::string host_socket;

  std::string url;
  std::optional<Transport> transport;  // absent while there is none
  Offload offload = Offload::none;
  ForwardState state = ForwardState::inactive;
  bool proven = false;  // state active: a connection got through to the guest
  // Never empty unless state is active; of an active one, why nobody answers now all the same.
  std::string reason;
  std::optional<std::int64_t> next_retry;  // Unix time, seconds
  Origin origin = Origin::metadata;
  std::optional<ProcessView> process;
  bool live = false;          // in the running domain's metadata
  bool config = false;        // in the metadata of its next start
  std::vector<WayView> ways;  // empty where it is not served at all

  friend bool operator==(const ForwardView&, const ForwardView&) = default;
};

// Counters change with every connection, so they are asked for and never announced.
struct ForwardCounters {
  std::uint64_t connections = 0;  // established now
  // Since the forward began; absent where some of its connections went past the relay.
  std::optional<std::uint64_t> bytes_in = 0;   // from clients to the guest
  std::optional<std::uint64_t> bytes_out = 0;  // from the guest to clients
  // By the relay, since the forward began: clients that came, and those that never got to the guest
  // or were refused.
  std::optional<std::uint64_t> accepted = {};
  std::optional<std::uint64_t> failures = {};
  friend bool operator==(const ForwardCounters&, const ForwardCounters&) = default;
};

// A port that a guest has open, and what became of it: see DetectedPort. Names and texts are the
// guest's.
struct PortView {
  std::string domain;  // name of the domain
  std::string uuid;    // of the domain
  std::string id;      // unique within the domain: DetectedPort::id()
  Protocol protocol = Protocol::tcp;
  std::optional<Port> port;          // always there
  std::vector<IpAddress> addresses;  // where it listens
  std::optional<ProcessView> process;
  std::optional<std::uint32_t> user_id;
  std::string container;
  DetectedState state = DetectedState::ignored;
  std::optional<std::uint32_t> rule;  // number of the rule that decided, from 1
  std::string rule_text;              // that rule, as rule_text() has it
  std::string reason;                 // never empty unless it is forwarded
  std::string forward;                // id of its forward; empty: none
  PortSource source = PortSource::agent;
  bool notify = true;  // the rule's, for the desktop
  bool open = false;
  friend bool operator==(const PortView&, const PortView&) = default;
};

struct DomainView {
  std::string uuid;
  std::string name;
  std::optional<int> id;  // absent while it does not run
  bool active = false;
  bool persistent = true;
  std::vector<std::string> problems;  // of its metadata, one line each
  bool automatic = false;             // whether ports are forwarded by themselves
  // Who tells of the guest's ports: "connected" (our agent), "qemu-agent", or why nobody does, as
  // xml/org.virtforward1.xml lists the words; empty while it does not run.
  std::string guest_agent = {};
  std::string guest_agent_reason = {};
  std::vector<IpAddress> addresses = {};  // proven to be the guest's own
  std::vector<std::string> bridges = {};  // of this host, that its interfaces are on
  bool saved = false;  // it does not run, and its next start goes on from a managed save image
  friend bool operator==(const DomainView&, const DomainView&) = default;
};

// A definition's identity for a single port or socket; "IDENTITY#GUESTPORT" for a port of a range.
std::string forward_id(const std::string& identity, bool of_range, std::optional<Port> guest_port);

// "127.0.0.1:8080" with the scheme in front where one is known; empty without a host port.
std::string forward_url(const ForwardView& forward, std::string_view scheme);

}  // namespace vf
