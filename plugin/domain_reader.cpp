// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/domain_reader.h"

#include <atomic>
#include <set>

#include "core/definition.h"
#include "plugin/domain_xml.h"

namespace vf {
namespace {

std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> sequence{0};
  return ++sequence;
}

// Our element; empty when there is none or the domain has no such side.
std::string element_of(virDomainPtr domain, unsigned flags) {
  const LibvirtText text(
      virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, metadata_namespace.data(), flags));
  return text ? std::string(text.get()) : std::string();
}

bool settles_later(virDomainPtr domain) {
  int state = VIR_DOMAIN_NOSTATE;
  int reason = 0;
  if (virDomainGetState(domain, &state, &reason, 0) < 0 || state != VIR_DOMAIN_PAUSED) return false;
  switch (reason) {
    case VIR_DOMAIN_PAUSED_MIGRATION:
    case VIR_DOMAIN_PAUSED_STARTING_UP:
    case VIR_DOMAIN_PAUSED_POSTCOPY:
      return true;
    default:
      return false;
  }
}

// `may_be_paused` saves a round trip where the list has told.
Result<DomainReading> read(virDomainPtr domain, bool persistent, bool may_be_paused) {
  DomainReading reading;
  reading.sequence = next_sequence();
  reading.uuid = uuid_of(domain);
  DomainSnapshot snapshot;
  snapshot.uuid = reading.uuid;
  snapshot.name = virDomainGetName(domain);
  snapshot.persistent = persistent;
  const unsigned id = virDomainGetID(domain);
  snapshot.active = id != static_cast<unsigned>(-1);
  if (snapshot.active) {
    snapshot.id = static_cast<int>(id);
    reading.arriving = may_be_paused && settles_later(domain);
    snapshot.live_metadata = element_of(domain, VIR_DOMAIN_AFFECT_LIVE);
  }
  if (persistent) snapshot.config_metadata = element_of(domain, VIR_DOMAIN_AFFECT_CONFIG);
  const LibvirtText xml(virDomainGetXMLDesc(domain, 0));
  if (!xml) {
    if (libvirt_error_number() == VIR_ERR_NO_DOMAIN) return reading;
    return Unexpected(libvirt_error("domain " + snapshot.name));
  }
  DomainDevices devices = parse_devices(xml.get());
  snapshot.interfaces = std::move(devices.interfaces);
  if (snapshot.active) {
    snapshot.vsock_cid = devices.vsock_cid;
    snapshot.guest_agent = devices.guest_agent;
  }
  reading.snapshot = std::move(snapshot);
  return reading;
}

}  // namespace

Result<DomainReading> read_domain(virConnectPtr connect, const std::string& uuid) {
  const DomainHandle domain = look_up(connect, uuid);
  if (!domain) {
    if (libvirt_error_number() != VIR_ERR_NO_DOMAIN) return Unexpected(libvirt_error(uuid));
    DomainReading gone;
    gone.sequence = next_sequence();
    gone.uuid = uuid;
    return gone;
  }
  return read(domain.get(), virDomainIsPersistent(domain.get()) == 1, true);
}

Result<FullReading> read_all_domains(virConnectPtr connect) {
  FullReading result;
  result.sequence = next_sequence();
  std::vector<DomainHandle> all;
  std::vector<DomainHandle> persistent;
  std::vector<DomainHandle> paused;
  if (!list_domains(connect, 0, all) ||
      !list_domains(connect, VIR_CONNECT_LIST_DOMAINS_PERSISTENT, persistent) ||
      !list_domains(connect, VIR_CONNECT_LIST_DOMAINS_PAUSED, paused))
    return Unexpected(libvirt_error("list of domains"));
  std::set<std::string> persistent_uuids;
  std::set<std::string> paused_uuids;
  for (const DomainHandle& domain : persistent)
    persistent_uuids.insert(uuid_of(domain.get()));
  for (const DomainHandle& domain : paused)
    paused_uuids.insert(uuid_of(domain.get()));
  for (const DomainHandle& domain : all) {
    const std::string uuid = uuid_of(domain.get());
    Result<DomainReading> reading =
        read(domain.get(), persistent_uuids.contains(uuid), paused_uuids.contains(uuid));
    if (!reading) return Unexpected(std::move(reading).error());
    result.domains.push_back(*std::move(reading));
  }
  return result;
}

Result<MetadataReading> read_metadata(virConnectPtr connect, const std::string& uuid) {
  MetadataReading reading;
  reading.sequence = next_sequence();
  reading.uuid = uuid;
  const DomainHandle domain = look_up(connect, uuid);
  if (!domain) return Unexpected(libvirt_error("domain " + uuid));
  if (virDomainGetID(domain.get()) != static_cast<unsigned>(-1))
    reading.live = element_of(domain.get(), VIR_DOMAIN_AFFECT_LIVE);
  reading.config = element_of(domain.get(), VIR_DOMAIN_AFFECT_CONFIG);
  return reading;
}

}  // namespace vf
