// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/inventory.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

using Outcome = Inventory::Outcome;

DomainReading reading(std::uint64_t sequence, const std::string& uuid, std::optional<int> id = 1) {
  DomainReading result{sequence, uuid, DomainSnapshot{}, false};
  result.snapshot->uuid = uuid;
  result.snapshot->id = id;
  result.snapshot->active = id.has_value();
  return result;
}

DomainReading nothing(std::uint64_t sequence, const std::string& uuid) {
  return {sequence, uuid, std::nullopt, false};
}

TEST(Inventory, TellsWhatChanged) {
  Inventory inventory;
  EXPECT_EQ(inventory.apply(reading(1, "a")), Outcome::changed);
  EXPECT_EQ(inventory.apply(reading(2, "a")), Outcome::unchanged);
  EXPECT_EQ(inventory.apply(reading(3, "a", std::nullopt)), Outcome::changed);
  EXPECT_EQ(inventory.apply(nothing(4, "a")), Outcome::gone);
  EXPECT_EQ(inventory.apply(nothing(5, "a")), Outcome::unchanged);
  EXPECT_EQ(inventory.find("a"), nullptr);
}

TEST(Inventory, AnOlderReadingNeverReplacesANewerOne) {
  Inventory inventory;
  inventory.apply(reading(5, "a"));
  EXPECT_EQ(inventory.apply(reading(4, "a", std::nullopt)), Outcome::unchanged);
  EXPECT_EQ(inventory.apply(MetadataReading{3, "a", true, "<old/>", ""}), Outcome::unchanged);
  EXPECT_TRUE(inventory.find("a")->active);
  inventory.apply(nothing(7, "a"));
  EXPECT_EQ(inventory.apply(reading(6, "a")), Outcome::unchanged);
  EXPECT_EQ(inventory.find("a"), nullptr);
}

TEST(Inventory, AListTakesWhatIsNotInItButNotWhatCameLater) {
  Inventory inventory;
  inventory.apply(reading(1, "old"));
  inventory.apply(reading(9, "newer"));
  inventory.apply(nothing(8, "stopped"));
  // Listed at 5, when "newer" was not there yet and "stopped" still was.
  inventory.apply(FullReading{5, {reading(6, "a"), reading(7, "stopped")}});
  EXPECT_EQ(inventory.find("old"), nullptr);
  EXPECT_NE(inventory.find("newer"), nullptr);
  EXPECT_EQ(inventory.find("stopped"), nullptr);
  EXPECT_EQ(inventory.domains().size(), 2u);
}

TEST(Inventory, MetadataAloneIsTakenOver) {
  Inventory inventory;
  EXPECT_EQ(inventory.apply(MetadataReading{1, "a", true, "<x/>", ""}), Outcome::unchanged);
  inventory.apply(reading(2, "a"));
  EXPECT_EQ(inventory.apply(MetadataReading{3, "a", true, "<x/>", "<y/>"}), Outcome::changed);
  EXPECT_EQ(inventory.find("a")->live_metadata, "<x/>");
  EXPECT_EQ(inventory.find("a")->config_metadata, "<y/>");
  EXPECT_EQ(inventory.apply(MetadataReading{4, "a", true, "<x/>", "<y/>"}), Outcome::unchanged);
}

TEST(Inventory, MetadataOfARunThatHasEndedEndsIt) {
  Inventory inventory;
  inventory.apply(reading(1, "a"));
  inventory.apply(MetadataReading{2, "a", true, "<x/>", "<y/>"});
  EXPECT_EQ(inventory.apply(MetadataReading{3, "a", false, "", "<y/>"}), Outcome::changed);
  EXPECT_FALSE(inventory.find("a")->active);
  EXPECT_FALSE(inventory.find("a")->id);
  EXPECT_EQ(inventory.find("a")->live_metadata, "");
  EXPECT_EQ(inventory.find("a")->config_metadata, "<y/>");
  EXPECT_EQ(inventory.apply(MetadataReading{4, "a", false, "", "<y/>"}), Outcome::unchanged);
}

TEST(Inventory, MetadataComesWithWhatTheNextStartGoesOnFrom) {
  Inventory inventory;
  inventory.apply(reading(1, "a", std::nullopt));
  EXPECT_EQ(inventory.apply(MetadataReading{2, "a", false, "", "", true}), Outcome::changed);
  EXPECT_TRUE(inventory.find("a")->saved);
  EXPECT_EQ(inventory.apply(MetadataReading{3, "a", false, "", "", true}), Outcome::unchanged);
  EXPECT_EQ(inventory.apply(MetadataReading{4, "a", false, "", ""}), Outcome::changed);
  EXPECT_FALSE(inventory.find("a")->saved);
}

TEST(Inventory, AStartEndsTheRunBeforeAtOnce) {
  Inventory inventory;
  DomainReading before = reading(1, "a", 1);
  before.snapshot->live_metadata = before.snapshot->config_metadata = "<x/>";
  before.snapshot->interfaces = {{"52:54:00:12:34:56", "network", "virbr0", "vnet0"}};
  before.snapshot->vsock_cid = 3;
  before.snapshot->guest_agent = true;
  inventory.apply(before);
  EXPECT_EQ(inventory.starting("a", 2, 5), Outcome::changed);
  DomainSnapshot off = *reading(0, "a", std::nullopt).snapshot;
  off.config_metadata = "<x/>";
  off.interfaces = {{"52:54:00:12:34:56", "network", "", ""}};
  EXPECT_EQ(*inventory.find("a"), off);
  EXPECT_EQ(inventory.starting("a", 2, 6), Outcome::unchanged);
}

TEST(Inventory, AReadingFromBeforeAStartDoesNotReviveTheRun) {
  Inventory inventory;
  inventory.apply(reading(1, "a", 1));
  inventory.starting("a", 2, 5);
  EXPECT_EQ(inventory.apply(reading(4, "a", 1)), Outcome::unchanged);
  EXPECT_EQ(inventory.apply(MetadataReading{4, "a", true, "<x/>", ""}), Outcome::unchanged);
  inventory.apply(FullReading{3, {reading(3, "a", 1)}});
  EXPECT_FALSE(inventory.find("a")->active);
  EXPECT_EQ(inventory.apply(reading(6, "a", 2)), Outcome::changed);
  EXPECT_EQ(inventory.find("a")->id, 2);
}

TEST(Inventory, AStartDoesNotEndTheRunThatItAnnounces) {
  Inventory inventory;
  // libvirt has given the number, and its hook has not begun.
  inventory.apply(reading(4, "a", 2));
  EXPECT_EQ(inventory.starting("a", 2, 5), Outcome::unchanged);
  EXPECT_TRUE(inventory.find("a")->active);
}

TEST(Inventory, AStartThatIsToldLateEndsNoLaterRun) {
  Inventory inventory;
  inventory.apply(reading(6, "a", 3));
  EXPECT_EQ(inventory.starting("a", 2, 5), Outcome::unchanged);
  // A libvirtd that was restarted meanwhile counts from one again.
  inventory.apply(reading(7, "a", 1));
  EXPECT_EQ(inventory.starting("a", 2, 5), Outcome::unchanged);
  EXPECT_EQ(inventory.find("a")->id, 1);
}

TEST(Inventory, AStartAfterLibvirtdBeganToCountAnewEndsTheRunBefore) {
  Inventory inventory;
  inventory.apply(reading(1, "a", 7));
  EXPECT_EQ(inventory.starting("a", 1, 5), Outcome::changed);
  EXPECT_FALSE(inventory.find("a")->active);
}

TEST(Inventory, AStartOfADomainThatWasNeverReadShutsOutOlderReadings) {
  Inventory inventory;
  EXPECT_EQ(inventory.starting("a", 2, 5), Outcome::unchanged);
  inventory.apply(FullReading{4, {reading(4, "a", 1)}});
  EXPECT_EQ(inventory.find("a"), nullptr);
  inventory.apply(FullReading{6, {reading(6, "a", 2)}});
  EXPECT_EQ(inventory.find("a")->id, 2);
}

TEST(Inventory, ADestinationServesWhenItsGuestRuns) {
  Inventory inventory;
  DomainReading arriving = reading(1, "a");
  arriving.arriving = true;
  inventory.apply(arriving);
  EXPECT_FALSE(inventory.find("a")->serving);
  inventory.apply(reading(2, "a"));
  EXPECT_TRUE(inventory.find("a")->serving);
}

TEST(Inventory, ASourceServesUntilItIsGone) {
  Inventory inventory;
  inventory.apply(reading(1, "a"));
  DomainReading leaving = reading(2, "a");
  leaving.arriving = true;
  inventory.apply(leaving);
  EXPECT_TRUE(inventory.find("a")->serving);
  // Another run, paused before it began.
  leaving.sequence = 3;
  leaving.snapshot->id = 2;
  inventory.apply(leaving);
  EXPECT_FALSE(inventory.find("a")->serving);
}

}  // namespace
}  // namespace vf
