// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The marks of redirected sockets that an earlier process left to this one.

#include <bpf/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include "offload/redirect.h"
#include "offload/redirect_program.h"
#include "place.h"

namespace vf::test {
namespace {

TEST(RedirectLegacy, ConnectionsOfAnEarlierProcessAreCountedAndCut) {
  const Place place;
  const Forward web = make_forward(place, "a/web");
  const Forward other = make_forward(place, "a/other");
  auto earlier = std::make_unique<RedirectOffload>();
  ASSERT_TRUE(earlier->start({}));
  EXPECT_FALSE(RedirectOffload().left());
  ASSERT_TRUE(earlier->apply({}, {&web.entry, 1}));
  ASSERT_TRUE(earlier->apply({}, {&other.entry, 1}));
  const Connection cut = connection(web);
  const Connection kept = connection(other);
  ASSERT_EQ(cut.reached, Connection::guest);
  ASSERT_TRUE(earlier->left());
  Fd left(fcntl(earlier->left()->get(), F_DUPFD_CLOEXEC, 0));
  earlier.reset();
  EXPECT_EQ(connection(web).reached, Connection::relay);

  RedirectOffload later;
  later.inherit(std::move(left));
  ASSERT_TRUE(later.start({}));
  later.cut({&web.entry.key, 1});  // which it never had
  EXPECT_EQ(next_read(cut.client), "error");
  EXPECT_TRUE(talks(kept.client, kept.server));
  ASSERT_TRUE(later.apply({}, {&other.entry, 1}));
  EXPECT_EQ(later.counts()->at("a/other").connections, 1u);
  const Connection more = connection(other);
  EXPECT_EQ(more.reached, Connection::guest);
  EXPECT_EQ(later.counts()->at("a/other").connections, 2u);
}

TEST(RedirectLegacy, WhatIsNotTheMarksIsLetGoOf) {
  const Place place;
  const Forward web = make_forward(place, "a/web");
  bpf_map_create_opts options{};
  options.sz = sizeof options;
  const int map = bpf_map_create(BPF_MAP_TYPE_HASH, "marks", 4, sizeof(redirect_mark), 8, &options);
  ASSERT_GE(map, 0);
  for (const int strange : {map, open("/dev/null", O_RDONLY | O_CLOEXEC)}) {
    RedirectOffload offload;
    offload.inherit(Fd(strange));
    ASSERT_TRUE(offload.start({}));
    ASSERT_TRUE(offload.apply({}, {&web.entry, 1}));
    const Connection made = connection(web);
    EXPECT_EQ(made.reached, Connection::guest);
    offload.cut({&web.entry.key, 1});
    EXPECT_EQ(next_read(made.client), "error");
  }
}

}  // namespace
}  // namespace vf::test
