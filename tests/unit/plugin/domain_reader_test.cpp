// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Against libvirt's test driver, whose handles say, like those of a real connection, what run there
// was when they were made.

#include "plugin/domain_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace vf {
namespace {

using ::testing::HasSubstr;

constexpr const char* element = R"(<forwards><forward guest-port="80"/></forwards>)";

std::uint64_t now() {
  const std::chrono::nanoseconds time = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(time.count());
}

class DomainReader : public ::testing::Test {
 protected:
  void SetUp() override {
    silence_libvirt();
    connect_ = share_connect(virConnectOpen("test:///default"));
    domain_.reset(virDomainLookupByName(connect_.get(), "test"));
    ASSERT_TRUE(domain_);
    uuid_ = uuid_of(domain_.get());
    for (const unsigned side : {VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG})
      ASSERT_EQ(virDomainSetMetadata(domain_.get(), VIR_DOMAIN_METADATA_ELEMENT, element, "vf",
                                     "urn:virt-forward:1", side),
                0);
  }

  ConnectHandle connect_;
  DomainHandle domain_;
  std::string uuid_;
};

TEST_F(DomainReader, ReadsADomainThatRuns) {
  const std::uint64_t before = now();
  const auto reading = read_domain(connect_.get(), uuid_);
  ASSERT_TRUE(reading) << reading.error().message;
  EXPECT_GE(reading->sequence, before);
  EXPECT_LE(reading->sequence, now());
  ASSERT_TRUE(reading->snapshot);
  EXPECT_TRUE(reading->snapshot->active);
  EXPECT_TRUE(reading->snapshot->id);
  EXPECT_THAT(reading->snapshot->live_metadata, HasSubstr("guest-port"));
  EXPECT_THAT(reading->snapshot->config_metadata, HasSubstr("guest-port"));
}

TEST_F(DomainReader, ARunThatEndsAfterTheLookUpIsNotRead) {
  const std::uint64_t sequence = next_sequence();
  const DomainHandle looked_up = look_up(connect_.get(), uuid_);
  ASSERT_EQ(virDomainDestroy(domain_.get()), 0);
  ASSERT_NE(virDomainGetID(looked_up.get()), static_cast<unsigned>(-1)) << "tests nothing";
  const auto reading = read_handle(looked_up.get(), sequence);
  ASSERT_TRUE(reading) << reading.error().message;
  EXPECT_EQ(reading->sequence, sequence);
  ASSERT_TRUE(reading->snapshot);
  EXPECT_FALSE(reading->snapshot->active);
  EXPECT_FALSE(reading->snapshot->id);
  EXPECT_EQ(reading->snapshot->live_metadata, "");
  EXPECT_THAT(reading->snapshot->config_metadata, HasSubstr("guest-port"));
}

TEST_F(DomainReader, EveryReadingOfAListIsAsOldAsTheList) {
  const auto reading = read_all_domains(connect_.get());
  ASSERT_TRUE(reading) << reading.error().message;
  ASSERT_FALSE(reading->domains.empty());
  for (const DomainReading& domain : reading->domains)
    EXPECT_EQ(domain.sequence, reading->sequence);
}

TEST_F(DomainReader, MetadataSaysWhetherItRan) {
  auto reading = read_metadata(connect_.get(), uuid_);
  ASSERT_TRUE(reading) << reading.error().message;
  EXPECT_TRUE(reading->active);
  EXPECT_THAT(reading->live, HasSubstr("guest-port"));
  ASSERT_EQ(virDomainDestroy(domain_.get()), 0);
  reading = read_metadata(connect_.get(), uuid_);
  ASSERT_TRUE(reading) << reading.error().message;
  EXPECT_FALSE(reading->active);
  EXPECT_EQ(reading->live, "");
  EXPECT_THAT(reading->config, HasSubstr("guest-port"));
}

TEST_F(DomainReader, SaysWhetherTheNextStartGoesOnFromASavedImage) {
  const auto saved = [&] {
    const auto one = read_domain(connect_.get(), uuid_);
    const auto all = read_all_domains(connect_.get());
    const auto metadata = read_metadata(connect_.get(), uuid_);
    EXPECT_TRUE(one && all && metadata);
    for (const DomainReading& listed : all->domains)
      if (listed.uuid == uuid_) {
        EXPECT_EQ(listed.snapshot->saved, one->snapshot->saved);
      }
    EXPECT_EQ(metadata->saved, one->snapshot->saved);
    return one->snapshot->saved;
  };
  EXPECT_FALSE(saved());
  ASSERT_EQ(virDomainManagedSave(domain_.get(), 0), 0);
  EXPECT_TRUE(saved());
  ASSERT_EQ(virDomainManagedSaveRemove(domain_.get(), 0), 0);
  EXPECT_FALSE(saved());
}

TEST(Sequence, GrowsWithTheClock) {
  std::uint64_t last = now();
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t next = next_sequence();
    ASSERT_GT(next, last);
    last = next;
  }
  EXPECT_LE(last, now());
}

}  // namespace
}  // namespace vf
