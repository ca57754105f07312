// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/port.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(Port, IsNeverZeroNorTooHigh) {
  EXPECT_FALSE(Port::from(0));
  EXPECT_EQ(Port::from(1)->number(), 1);
  EXPECT_EQ(Port::from(65535)->number(), 65535);
  EXPECT_FALSE(Port::from(65536));
  EXPECT_FALSE(Port::from(65536 + 80));
}

TEST(Port, ParsesDecimalDigitsOnly) {
  EXPECT_EQ(Port::parse("1"), Port::from(1));
  EXPECT_EQ(Port::parse("65535"), Port::from(65535));
  for (const char* text : {"", "0", "080", "+80", "-80", " 80", "80 ", "80\n", "0x50", "8 0", "80a",
                           "65536", "99999", "18446744073709551696", "http"})
    EXPECT_FALSE(Port::parse(text)) << text;
  EXPECT_FALSE(Port::parse(std::string_view("80\0", 3)));
}

TEST(PortRange, ParsesOnePortOrTwo) {
  EXPECT_EQ(PortRange::parse("80"), PortRange(*Port::from(80)));
  EXPECT_EQ(PortRange::parse("80-80"), PortRange(*Port::from(80)));
  EXPECT_EQ(PortRange::parse("1-65535"), PortRange::from(*Port::from(1), *Port::from(65535)));
  for (const char* text :
       {"", "-", "80-", "-80", "90-80", "0-5", "1-65536", "1-2-3", "80 - 90", "80--90", "80,81"})
    EXPECT_FALSE(PortRange::parse(text)) << text;
}

TEST(PortRange, CountsAndIndexesItsPorts) {
  const PortRange range = *PortRange::parse("8000-8009");
  EXPECT_EQ(range.width(), 10u);
  EXPECT_EQ(range.at(0), Port::from(8000));
  EXPECT_EQ(range.at(9), Port::from(8009));
  EXPECT_TRUE(range.contains(*Port::from(8009)));
  EXPECT_FALSE(range.contains(*Port::from(8010)));
  EXPECT_FALSE(range.contains(*Port::from(7999)));
  EXPECT_EQ(PortRange::parse("1-65535")->width(), 65535u);
  EXPECT_EQ(PortRange::parse("1-65535")->at(65534), Port::from(65535));
}

TEST(PortRange, TextParsesBack) {
  for (const char* text : {"80", "8000-8009", "1-65535"})
    EXPECT_EQ(PortRange::parse(text)->text(), text);
}

}  // namespace
}  // namespace vf
