// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Writing metadata through a libvirt that cannot put it into its file: it answers with an error and
// has changed what it has in memory.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plugin/domain_reader.h"

namespace {

bool file_can_be_written = true;

}  // namespace

// Comes before libvirt's own.
extern "C" int virDomainSetMetadata(virDomainPtr domain, int type, const char* metadata,
                                    const char* key, const char* uri, unsigned int flags) {
  static const auto real =
      reinterpret_cast<decltype(&virDomainSetMetadata)>(dlsym(RTLD_NEXT, "virDomainSetMetadata"));
  const int result = real(domain, type, metadata, key, uri, flags);
  return flags != VIR_DOMAIN_AFFECT_CONFIG || file_can_be_written ? result : -1;
}

namespace vf {
namespace {

constexpr const char* uri = "urn:virt-forward:1";

std::string config_of(virDomainPtr domain) {
  const LibvirtText text(
      virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, uri, VIR_DOMAIN_AFFECT_CONFIG));
  return text ? text.get() : "";
}

TEST(MetadataWriter, WhatLibvirtCannotKeepItDoesNotHaveInMemoryEither) {
  const ConnectHandle connect = share_connect(virConnectOpen("test:///default"));
  const DomainHandle domain(virDomainLookupByName(connect.get(), "test"));
  ASSERT_TRUE(domain);
  for (const std::string before : {"", R"(<forwards><forward guest-port="22"/></forwards>)"}) {
    ASSERT_EQ(virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT,
                                   before.empty() ? nullptr : before.c_str(), "vf", uri,
                                   VIR_DOMAIN_AFFECT_CONFIG),
              0);
    const std::string had = config_of(domain.get());
    file_can_be_written = false;
    const auto written =
        write_metadata(connect.get(), uuid_of(domain.get()), {.config = true},
                       [](const std::string&) -> Result<std::string> {
                         return std::string(R"(<forwards><forward guest-port="80"/></forwards>)");
                       });
    file_can_be_written = true;
    ASSERT_FALSE(written);
    EXPECT_EQ(config_of(domain.get()), had);
  }
  virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, nullptr, nullptr, uri,
                       VIR_DOMAIN_AFFECT_CONFIG);
}

}  // namespace
}  // namespace vf
