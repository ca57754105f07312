// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Edits against libvirt's test driver, which lives in this process. Another connection to
// test:///default shares its domains and plays virsh.

#pragma once

#include <gtest/gtest.h>

#include "bus_lab.h"
#include "daemon/forward_editor.h"
#include "plugin/libvirt_handles.h"
#include "reconciler_fakes.h"

namespace vf {

class EditorLab : public testing::Test {
 protected:
  using Outcome = Result<std::vector<ForwardView>>;
  static constexpr const char* uri = "urn:virt-forward:1";

  EditorLab() {
    reconciler.use_relay(relay);
    other = share_connect(virConnectOpen("test:///default"));
    domain.reset(virDomainLookupByName(other.get(), "test"));
    uuid = uuid_of(domain.get());
  }
  ~EditorLab() override {
    host.reset();
    for (const unsigned side : {VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG})
      set({}, side);
  }

  // The domain runs with these forwards, and so does its next start.
  void begin(const std::string& content) {
    for (const unsigned side : {VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG})
      set(content, side);
    host->start();
    ASSERT_TRUE(iterate_until([&] { return !table.forwards(uuid).empty(); }));
    relay.take();
  }
  void set(const std::string& content, unsigned side) {
    const std::string element = "<forwards>" + content + "</forwards>";
    ASSERT_EQ(virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT,
                                   content.empty() ? nullptr : element.c_str(), "vf", uri, side),
              0);
  }
  std::string metadata(unsigned side) {
    const LibvirtText text(
        virDomainGetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, uri, side));
    return text ? text.get() : "";
  }

  template <typename Answer>
  Answer wait(const std::optional<Answer>& outcome) {
    EXPECT_TRUE(iterate_until([&] { return outcome.has_value(); }));
    return outcome ? *outcome : Answer(Unexpected(ErrorCode::failed, "no answer"));
  }
  Outcome change(const std::string& forward, const ForwardAttributes& attributes,
                 EditScope scope = {}) {
    std::optional<Outcome> outcome;
    editor.change_forward(uuid, forward, attributes, scope,
                          [&](Outcome done) { outcome = std::move(done); });
    return wait(outcome);
  }
  Result<Controller::Added> add(const std::vector<ForwardAttributes>& forwards,
                                EditScope scope = {}) {
    std::optional<Result<Controller::Added>> outcome;
    editor.add_forwards(uuid, forwards, scope, [&](auto done) { outcome = std::move(done); });
    return wait(outcome);
  }

  const std::string web_ = R"(<forward guest-port="80" host-port="8080" on-busy="fail"/>)";

  FakePorts ports;
  FakeRelay relay;
  PortHints hints{"/nonexistent/ports"};
  ForwardTable table{"test:///default"};
  Reconciler reconciler{Policy{}, ports, hints, table};
  std::unique_ptr<LibvirtHost> host = std::make_unique<LibvirtHost>("test:///default", reconciler);
  ForwardEditor editor{reconciler, table, *host, relay};
  ConnectHandle other;
  DomainHandle domain;
  std::string uuid;
};

}  // namespace vf
