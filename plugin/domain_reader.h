// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The calls that read and write domains. Each may block: for workers.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plugin/domain_snapshot.h"
#include "plugin/libvirt_handles.h"
#include "plugin/libvirt_host.h"

namespace vf {

// Nanoseconds of CLOCK_MONOTONIC when a reading began, before anything was read; no two are equal.
// What happened to a domain before it is in the reading.
std::uint64_t next_sequence();

// One domain as it was when the reading began.
struct DomainReading {
  std::uint64_t sequence = 0;
  std::string uuid;
  // Without `serving`, which depends on what was seen before; nothing when there is no such domain.
  std::optional<DomainSnapshot> snapshot;
  // Paused because it is being started, restored or migrated: whether the guest can run here was
  // settled before, or is not yet.
  bool arriving = false;
};

struct FullReading {
  std::uint64_t sequence = 0;  // of the list: what is not in it was gone then
  std::vector<DomainReading> domains;
};

// The elements without prefix, as virDomainGetMetadata gives them.
struct MetadataReading {
  std::uint64_t sequence = 0;
  std::string uuid;
  bool active = false;  // it ran when its live metadata was read
  std::string live;
  std::string config;
  bool saved = false;  // see DomainSnapshot
};

Result<DomainReading> read_domain(virConnectPtr connect, const std::string& uuid);
// The same of a handle, which says what run was there when it was looked up: `sequence` is of
// before that.
Result<DomainReading> read_handle(virDomainPtr domain, std::uint64_t sequence);
Result<FullReading> read_all_domains(virConnectPtr connect);
// NoSuchDomain when it is gone.
Result<MetadataReading> read_metadata(virConnectPtr connect, const std::string& uuid);

// See LibvirtHost::edit_metadata(). What is stored afterwards; after an error, what was before.
Result<MetadataReading> write_metadata(virConnectPtr connect, const std::string& uuid,
                                       MetadataTarget target, const LibvirtHost::Edit& edit);

}  // namespace vf
