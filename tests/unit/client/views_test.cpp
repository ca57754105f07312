// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/views.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

Properties properties(const char* text) {
  const auto variant =
      adopt(g_variant_parse(G_VARIANT_TYPE_VARDICT, text, nullptr, nullptr, nullptr));
  Properties result;
  if (variant) merge(result, variant.get());
  return result;
}

TEST(Views, AForwardOfAllItsProperties) {
  const ForwardView view = forward_view(properties(
      "{'DomainName': <'web'>, 'Uuid': <'u'>, 'Id': <'range#81'>, 'Definition': <'range'>, "
      "'Name': <'range'>, 'Label': <'l'>, 'Protocol': <'udp'>, 'GuestAddress': <'fd00::7'>, "
      "'GuestPort': <uint16 81>, 'HostAddresses': <['127.0.0.1', '::1']>, "
      "'HostPort': <uint16 8081>, 'RequestedPort': <uint16 8080>, 'Url': <'127.0.0.1:8081'>, "
      "'Transport': <'vsock'>, 'Offload': <'nftables'>, 'State': <'waiting'>, 'Proven': <true>, "
      "'Reason': <'no address'>, 'NextRetry': <int64 1700000000>, 'Origin': <'auto'>, "
      "'ProcessName': <'ncat'>, 'ProcessId': <int64 7>, 'Live': <true>, 'Config': <true>}"));
  ForwardView expected;
  expected.domain = "web";
  expected.uuid = "u";
  expected.id = "range#81";
  expected.definition = "range";
  expected.name = "range";
  expected.label = "l";
  expected.protocol = Protocol::udp;
  expected.guest_address = IpAddress::parse("fd00::7");
  expected.guest_port = Port::from(81);
  expected.host_addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  expected.host_port = Port::from(8081);
  expected.requested_port = Port::from(8080);
  expected.url = "127.0.0.1:8081";
  expected.transport = Transport::vsock;
  expected.offload = Offload::nftables;
  expected.state = ForwardState::waiting;
  expected.proven = true;
  expected.reason = "no address";
  expected.next_retry = 1700000000;
  expected.origin = Origin::automatic;
  expected.process = ProcessView{"ncat", 7, ""};
  expected.live = true;
  expected.config = true;
  EXPECT_EQ(view, expected);
}

TEST(Views, MissingAndMistypedPropertiesAreUnknown) {
  const ForwardView view = forward_view(properties(
      "{'HostPort': <'8080'>, 'GuestPort': <uint16 0>, 'Live': <1>, 'State': <'active'>, "
      "'GuestAddress': <'nonsense'>, 'HostAddresses': <['x']>}"));
  ForwardView expected;
  expected.state = ForwardState::active;
  EXPECT_EQ(view, expected);
}

TEST(Views, AStateOfANewerDaemonIsNamed) {
  const ForwardView view = forward_view(properties("{'State': <'asking'>}"));
  EXPECT_EQ(view.state, ForwardState::failed);
  EXPECT_NE(view.reason.find("\"asking\""), std::string::npos) << view.reason;
}

TEST(Views, ADomain) {
  DomainView expected{"u", "web", 3, true, false, {"line 2: x"}};
  EXPECT_EQ(domain_view(properties("{'Uuid': <'u'>, 'Name': <'web'>, 'Id': <3>, 'Active': <true>, "
                                   "'Persistent': <false>, 'Problems': <['line 2: x']>}")),
            expected);
  EXPECT_FALSE(domain_view(properties("{'Name': <'web'>}")).id);
  EXPECT_TRUE(domain_view(properties("{'Saved': <true>}")).saved);
}

TEST(Views, MergeReplacesWhatChanged) {
  Properties merged = properties("{'State': <'waiting'>, 'Reason': <'x'>}");
  const auto change = adopt(
      g_variant_parse(G_VARIANT_TYPE_VARDICT, "{'State': <'active'>}", nullptr, nullptr, nullptr));
  merge(merged, change.get());
  EXPECT_EQ(forward_view(merged).state, ForwardState::active);
  EXPECT_EQ(forward_view(merged).reason, "x");
}

}  // namespace
}  // namespace vf
