// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/vocabulary.h"

#include <array>

namespace vf {
namespace {

template <typename Word, std::size_t N>
using Table = std::array<std::pair<Word, std::string_view>, N>;

constexpr Table<Protocol, 2> protocols{{{Protocol::tcp, "tcp"}, {Protocol::udp, "udp"}}};
constexpr Table<Transport, 5> transports{{{Transport::automatic, "auto"},
                                          {Transport::tcp, "tcp"},
                                          {Transport::vsock, "vsock"},
                                          {Transport::ssh, "ssh"},
                                          {Transport::usernet, "usernet"}}};
constexpr Table<Offload, 4> offloads{{{Offload::automatic, "auto"},
                                      {Offload::none, "none"},
                                      {Offload::redirect, "redirect"},
                                      {Offload::nftables, "nftables"}}};
constexpr Table<OnBusy, 3> on_busies{
    {{OnBusy::next, "next"}, {OnBusy::any, "any"}, {OnBusy::fail, "fail"}}};
constexpr Table<ProxyProtocol, 2> proxy_protocols{
    {{ProxyProtocol::none, "none"}, {ProxyProtocol::v2, "v2"}}};
constexpr Table<AutoMode, 3> auto_modes{
    {{AutoMode::yes, "yes"}, {AutoMode::no, "no"}, {AutoMode::policy, "policy"}}};
constexpr Table<RuleAction, 4> rule_actions{{{RuleAction::forward, "forward"},
                                             {RuleAction::block, "block"},
                                             {RuleAction::ignore, "ignore"},
                                             {RuleAction::ask, "ask"}}};
constexpr Table<ForwardState, 8> forward_states{{{ForwardState::active, "active"},
                                                 {ForwardState::waiting, "waiting"},
                                                 {ForwardState::no_listener, "no-listener"},
                                                 {ForwardState::port_busy, "port-busy"},
                                                 {ForwardState::denied, "denied"},
                                                 {ForwardState::failed, "failed"},
                                                 {ForwardState::disabled, "disabled"},
                                                 {ForwardState::inactive, "inactive"}}};
constexpr Table<DetectedState, 5> detected_states{{{DetectedState::forwarded, "forwarded"},
                                                   {DetectedState::blocked, "blocked"},
                                                   {DetectedState::ignored, "ignored"},
                                                   {DetectedState::asking, "asking"},
                                                   {DetectedState::denied, "denied"}}};
constexpr Table<Origin, 2> origins{{{Origin::metadata, "metadata"}, {Origin::automatic, "auto"}}};
constexpr Table<WayState, 3> way_states{
    {{WayState::used, "used"}, {WayState::ready, "ready"}, {WayState::rejected, "rejected"}}};
constexpr Table<PortSource, 2> port_sources{
    {{PortSource::agent, "agent"}, {PortSource::qemu_agent, "qemu-agent"}}};
constexpr Table<bool, 2> booleans{{{false, "no"}, {true, "yes"}}};

}  // namespace

template <>
WordTable<Protocol> words() {
  return protocols;
}
template <>
WordTable<Transport> words() {
  return transports;
}
template <>
WordTable<Offload> words() {
  return offloads;
}
template <>
WordTable<OnBusy> words() {
  return on_busies;
}
template <>
WordTable<ProxyProtocol> words() {
  return proxy_protocols;
}
template <>
WordTable<AutoMode> words() {
  return auto_modes;
}
template <>
WordTable<RuleAction> words() {
  return rule_actions;
}
template <>
WordTable<ForwardState> words() {
  return forward_states;
}
template <>
WordTable<DetectedState> words() {
  return detected_states;
}
template <>
WordTable<Origin> words() {
  return origins;
}
template <>
WordTable<WayState> words() {
  return way_states;
}
template <>
WordTable<PortSource> words() {
  return port_sources;
}
template <>
WordTable<bool> words() {
  return booleans;
}

}  // namespace vf
