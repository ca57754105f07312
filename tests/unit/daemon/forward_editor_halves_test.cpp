// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Edits of a running domain and of its next start through a libvirt that refuses one of the writes:
// both are edited or neither is.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "forward_editor_lab.h"

namespace {

std::atomic<int> writes = 0;
std::set<int> refused;  // by number, from 1

}  // namespace

// Comes before libvirt's own.
extern "C" int virDomainSetMetadata(virDomainPtr domain, int type, const char* metadata,
                                    const char* key, const char* uri, unsigned int flags) {
  static const auto real =
      reinterpret_cast<decltype(&virDomainSetMetadata)>(dlsym(RTLD_NEXT, "virDomainSetMetadata"));
  if (refused.contains(++writes)) return -1;
  return real(domain, type, metadata, key, uri, flags);
}

namespace vf {
namespace {

using testing::HasSubstr;

using Done = std::function<void(Result<void>)>;

struct Edit {
  const char* name;
  void (*begin)(ForwardEditor&, const std::string& uuid, EditScope, Done);
};

const PortRange web_port(*Port::from(80));
const PortRange shop_port(*Port::from(81));

template <typename Value>
std::function<void(Result<Value>)> of(Done done) {
  return [done = std::move(done)](Result<Value> value) {
    done(value ? Result<void>() : Result<void>(Unexpected(std::move(value).error())));
  };
}

const Edit edits[] = {
    {"Add",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.add_forwards(uuid, {{{"guest-port", "22"}}, {{"guest-port", "23"}}}, scope,
                           of<Controller::Added>(std::move(done)));
     }},
    {"Change",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.change_forward(uuid, "tcp:8080:80", {{"label", "new"}}, scope,
                             of<std::vector<ForwardView>>(std::move(done)));
     }},
    {"Remove",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.remove_forward(uuid, "tcp:8080:80", scope, false, std::move(done));
     }},
    {"Block",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.block(uuid, Protocol::tcp, web_port, scope, std::move(done));
     }},
    {"Unblock",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.unblock(uuid, Protocol::tcp, shop_port, scope, std::move(done));
     }},
    {"Allow",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.allow(uuid, Protocol::tcp, web_port, "", scope, std::move(done));
     }},
    {"Disallow",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.disallow(uuid, Protocol::tcp, PortRange(*Port::from(82)), "", scope, std::move(done));
     }},
    {"SetAutomatic",
     [](ForwardEditor& editor, const std::string& uuid, EditScope scope, Done done) {
       editor.set_automatic(uuid, AutoMode::no, scope, std::move(done));
     }},
};

class EditOfBothSides : public EditorLab, public testing::WithParamInterface<Edit> {
 protected:
  ~EditOfBothSides() override { refused.clear(); }

  Result<void> edit(EditScope scope = {.persistent = true}) {
    std::optional<Result<void>> outcome;
    GetParam().begin(editor, uuid, scope, [&](Result<void> done) { outcome = std::move(done); });
    return wait(outcome);
  }
  // One forward, and what Block and Allow have made.
  void begin_with_all() {
    begin(web_);
    std::optional<Result<void>> blocked;
    editor.block(uuid, Protocol::tcp, shop_port, {.persistent = true},
                 [&](Result<void> done) { blocked = std::move(done); });
    ASSERT_TRUE(wait(blocked));
    std::optional<Result<void>> allowed;
    editor.allow(uuid, Protocol::tcp, PortRange(*Port::from(82)), "", {.persistent = true},
                 [&](Result<void> done) { allowed = std::move(done); });
    ASSERT_TRUE(wait(allowed));
    live = metadata(VIR_DOMAIN_AFFECT_LIVE);
    config = metadata(VIR_DOMAIN_AFFECT_CONFIG);
    relay.take();
    writes = 0;
  }

  std::string live;
  std::string config;
};

TEST_P(EditOfBothSides, IsOfBoth) {
  begin_with_all();
  const Result<void> done = edit();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(writes, 2);
  EXPECT_NE(metadata(VIR_DOMAIN_AFFECT_LIVE), live);
  EXPECT_NE(metadata(VIR_DOMAIN_AFFECT_CONFIG), config);
}

TEST_P(EditOfBothSides, OfWhichTheSecondIsRefusedIsNone) {
  begin_with_all();
  refused = {2};
  EXPECT_FALSE(edit());
  EXPECT_EQ(metadata(VIR_DOMAIN_AFFECT_LIVE), live);
  EXPECT_EQ(metadata(VIR_DOMAIN_AFFECT_CONFIG), config);
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_EQ(table.forwards(uuid).size(), 1u);
}

TEST_P(EditOfBothSides, ThatOneSideCannotTakeIsNone) {
  begin_with_all();
  set("", VIR_DOMAIN_AFFECT_CONFIG);
  ASSERT_EQ(virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, "<other/>", "vf", uri,
                                 VIR_DOMAIN_AFFECT_CONFIG),
            0);
  EXPECT_FALSE(edit({.live = true, .config = true}));
  EXPECT_EQ(metadata(VIR_DOMAIN_AFFECT_LIVE), live);
  EXPECT_TRUE(ports.is_bound(8080));
}

TEST_P(EditOfBothSides, ThatCannotBeTakenBackSaysWhatIsSo) {
  begin_with_all();
  refused = {2, 3};
  const Result<void> done = edit();
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("its next start has the change all the same"));
  EXPECT_EQ(metadata(VIR_DOMAIN_AFFECT_LIVE), live);
  EXPECT_NE(metadata(VIR_DOMAIN_AFFECT_CONFIG), config);
  EXPECT_TRUE(ports.is_bound(8080));
}

INSTANTIATE_TEST_SUITE_P(ForwardEditor, EditOfBothSides, testing::ValuesIn(edits),
                         [](const auto& tested) { return std::string(tested.param.name); });

// Others are on their way out meanwhile.
TEST_F(EditorLab, ARefusedRemovalDrainsNothing) {
  begin(web_);
  auto& draining = reconciler.domain(uuid)->draining;
  draining = {"another"};
  writes = 0;
  refused = {1};
  std::optional<Result<void>> outcome;
  editor.remove_forward(uuid, "tcp:8080:80", {.live = true}, true,
                        [&](Result<void> done) { outcome = std::move(done); });
  EXPECT_FALSE(wait(outcome));
  refused.clear();
  EXPECT_THAT(draining, testing::ElementsAre("another"));
}

}  // namespace
}  // namespace vf
