// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/forward_spec.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

std::string joined(const ForwardSpec& spec) {
  std::string text;
  for (const auto& [name, value] : spec.attributes())
    text += (text.empty() ? "" : " ") + name + '=' + value;
  return text;
}

struct Good {
  const char* text;
  const char* attributes;
};

class GoodSpec : public testing::TestWithParam<Good> {};

TEST_P(GoodSpec, IsReadAsAttributes) {
  const auto spec = parse_forward_spec(GetParam().text);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(joined(*spec), GetParam().attributes);
}

const Good good[] = {
    {"80", "guest-port=80"},
    {"1", "guest-port=1"},
    {"65535", "guest-port=65535"},
    {"8080:80", "guest-port=80 host-port=8080"},
    {"65535:1", "guest-port=1 host-port=65535"},
    {"80/tcp", "guest-port=80 protocol=tcp"},
    {"53/udp", "guest-port=53 protocol=udp"},
    {"5353:53/udp", "guest-port=53 host-port=5353 protocol=udp"},
    {"8000-8009", "guest-port=8000-8009"},
    {"18000-18009:8000-8009", "guest-port=8000-8009 host-port=18000-18009"},
    {"8000-8000:80", "guest-port=80 host-port=8000"},
    {"8000-8009/udp", "guest-port=8000-8009 protocol=udp"},
    {"127.0.0.1:8080:80", "guest-port=80 host-port=8080 host-address=127.0.0.1"},
    {"0.0.0.0:8080:80", "guest-port=80 host-port=8080 host-address=0.0.0.0"},
    {"127.0.0.1::80", "guest-port=80 host-address=127.0.0.1"},
    {"[::1]:8080:80", "guest-port=80 host-port=8080 host-address=::1"},
    {"[::1]::80", "guest-port=80 host-address=::1"},
    {"[::]:8080:80", "guest-port=80 host-port=8080 host-address=::"},
    {"[2001:db8::1]:5353:53/udp",
     "guest-port=53 host-port=5353 host-address=2001:db8::1 protocol=udp"},
    {"10.0.0.1:18000-18009:8000-8009",
     "guest-port=8000-8009 host-port=18000-18009 host-address=10.0.0.1"},
    {"pg.sock:5432", "guest-port=5432 host-socket=pg.sock"},
    {"web/pg.sock:5432", "guest-port=5432 host-socket=web/pg.sock"},
    {"web/pg.sock:5432/tcp", "guest-port=5432 host-socket=web/pg.sock protocol=tcp"},
    {"/run/x/pg.sock:5432", "guest-port=5432 host-socket=/run/x/pg.sock"},
    {"/run/pg.sock", "guest-socket=/run/pg.sock"},
    {"8080:/run/app.sock", "guest-socket=/run/app.sock host-port=8080"},
    {"8080:/run/app/udp", "guest-socket=/run/app/udp host-port=8080"},
    {"/run/app/tcp", "guest-socket=/run/app/tcp"},
    {"web/pg.sock:/run/pg.sock", "guest-socket=/run/pg.sock host-socket=web/pg.sock"},
    {"127.0.0.1:8080:/run/app.sock",
     "guest-socket=/run/app.sock host-port=8080 host-address=127.0.0.1"},
};

INSTANTIATE_TEST_SUITE_P(Spec, GoodSpec, testing::ValuesIn(good));

struct Bad {
  const char* text;
  const char* message;  // a part of it
};

class BadSpec : public testing::TestWithParam<Bad> {};

TEST_P(BadSpec, SaysWhatWasFoundAndWhatIsAllowed) {
  const auto spec = parse_forward_spec(GetParam().text);
  ASSERT_FALSE(spec) << joined(*spec);
  EXPECT_EQ(spec.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(spec.error().message.find(GetParam().message), std::string::npos)
      << spec.error().message;
}

const Bad bad[] = {
    {"", "is empty; write [HOST:]GUEST"},
    {"0", "\"0\" is not a guest port; allowed are 1-65535"},
    {"65536", "\"65536\" is not a guest port"},
    {"99999", "\"99999\" is not a guest port"},
    {"99999999999999999999", "is not a guest port"},
    {"-1", "\"-1\" is not a guest port"},
    {"+80", "\"+80\" is not a guest port"},
    {"080", "\"080\" is not a guest port"},
    {" 80", "\" 80\" is not a guest port"},
    {"80 ", "is not a guest port"},
    {"0x50", "is not a guest port"},
    {"8e1", "is not a guest port"},
    {"http", "\"http\" is not a guest port"},
    {"8009-8000", "\"8009-8000\" is not a guest port"},
    {"80-", "\"80-\" is not a guest port"},
    {"-80", "is not a guest port"},
    {"1-2-3", "is not a guest port"},
    {"0-5", "is not a guest port"},
    {"8080:0", "\"0\" is not a guest port"},
    {"0:80", "\"0\" is not a host port; allowed are 1-65535"},
    {"99999:80", "\"99999\" is not a host port"},
    {"x:80", "\"x\" is not a host port"},
    {":80", "the host port is missing"},
    {"8080:", "the guest port is missing"},
    {":", "the guest port is missing"},
    {"8000-8009:80", "host 8000-8009 has 10 ports and guest \"80\" has 1 port;"},
    {"8080:8000-8009", "host 8080 has 1 port and guest \"8000-8009\" has 10"},
    {"8000-8001:/run/x", "host 8000-8001 has 2 ports"},
    {"80/sctp", "\"sctp\" is not a protocol; allowed are tcp and udp"},
    {"80/", "\"\" is not a protocol"},
    {"80/UDP", "\"UDP\" is not a protocol"},
    {"80/udp/udp", "is not a guest port"},
    {"/80/udp:", "the guest port is missing"},
    {"127.0.0.1:8080", "write \"127.0.0.1:8080:8080\" or \"127.0.0.1::8080\""},
    {"[::1]:80", "\"[::1]::80\" for any free host port"},
    {"localhost:80", "has an address but one port only"},
    {"localhost:8080:80", "without an address it is 127.0.0.1 and ::1"},
    {"*:8080:80", "every IPv4 address is 0.0.0.0"},
    {"::1:8080:80", "an IPv6 address in brackets"},
    {"[127.0.0.1]:8080:80", "\"[127.0.0.1]\" is not a host address"},
    {"[::1:8080:80", "is not a guest port"},
    {"[]:8080:80", "\"[]\" is not a host address"},
    {"127.0.0.256:8080:80", "\"127.0.0.256\" is not a host address"},
    {":8080:80", "\"\" is not a host address"},
    {"8080:10.0.0.2:80", "\"8080\" is not a host address"},
    {"1:2:3:4", "too many colons"},
    {"127.0.0.1:a/b:80", "a socket path has no address"},
    {"\x1b[31m80", "\"\\x1b[31m80\" is not a guest port"},
    {"\xff", "\"\\xff\" is not a guest port"},
};

INSTANTIATE_TEST_SUITE_P(Spec, BadSpec, testing::ValuesIn(bad));

}  // namespace
}  // namespace vf
