// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/domain_reader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <set>

#include "core/definition.h"
#include "plugin/domain_xml.h"

namespace vf {
namespace {

// Our element of one side, empty when it has none. Nothing where there is no such side: the live
// one of a run that has ended, the next start's of a transient domain, any of one that is gone.
Result<std::optional<std::string>> element_of(virDomainPtr domain, unsigned side) {
  const LibvirtText text(
      virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, metadata_namespace.data(), side));
  if (text) return std::optional(std::string(text.get()));
  switch (libvirt_error_number()) {
    case VIR_ERR_NO_DOMAIN_METADATA:
      return std::optional(std::string());
    case VIR_ERR_OPERATION_INVALID:
    case VIR_ERR_NO_DOMAIN:
      return std::optional<std::string>();
    default:
      return Unexpected(libvirt_error("metadata"));
  }
}

// Why it is paused (virDomainPausedReason); nothing where it is not.
std::optional<int> paused_reason(virDomainPtr domain) {
  int state = VIR_DOMAIN_NOSTATE;
  int reason = 0;
  if (virDomainGetState(domain, &state, &reason, 0) < 0 || state != VIR_DOMAIN_PAUSED)
    return std::nullopt;
  return reason;
}

bool settles_later(int reason) {
  switch (reason) {
    case VIR_DOMAIN_PAUSED_MIGRATION:
    case VIR_DOMAIN_PAUSED_STARTING_UP:
    case VIR_DOMAIN_PAUSED_POSTCOPY:
      return true;
    default:
      return false;
  }
}

// That libvirt cannot tell is no reason to know nothing else.
bool has_saved_image(virDomainPtr domain) {
  return virDomainHasManagedSaveImage(domain, 0) == 1;
}

// What a list has told, which saves a round trip each.
struct Told {
  bool persistent = true;
  bool may_be_paused = true;
  bool may_be_saved = true;
};

Result<DomainReading> read(virDomainPtr domain, std::uint64_t sequence, const Told& told) {
  DomainReading reading;
  reading.sequence = sequence;
  reading.uuid = uuid_of(domain);
  DomainSnapshot snapshot;
  snapshot.uuid = reading.uuid;
  snapshot.name = virDomainGetName(domain);
  snapshot.persistent = told.persistent;
  const unsigned id = virDomainGetID(domain);
  if (id != static_cast<unsigned>(-1)) {
    const auto paused = told.may_be_paused ? paused_reason(domain) : std::nullopt;
    reading.arriving = paused && settles_later(*paused);
    snapshot.paused = paused.has_value();
    auto element = element_of(domain, VIR_DOMAIN_AFFECT_LIVE);
    if (!element) return Unexpected(std::move(element).error());
    if (*element) {
      snapshot.active = true;
      snapshot.id = static_cast<int>(id);
      snapshot.live_metadata = **std::move(element);
    }
  }
  if (told.persistent) {
    snapshot.saved = !snapshot.active && told.may_be_saved && has_saved_image(domain);
    auto element = element_of(domain, VIR_DOMAIN_AFFECT_CONFIG);
    if (!element) return Unexpected(std::move(element).error());
    snapshot.config_metadata = std::move(*element).value_or("");
  }
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

std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> last{0};
  const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
  std::uint64_t before = last;
  std::uint64_t next = 0;
  do {
    next = std::max(static_cast<std::uint64_t>(now.count()), before + 1);
  } while (!last.compare_exchange_weak(before, next));
  return next;
}

Result<DomainReading> read_handle(virDomainPtr domain, std::uint64_t sequence) {
  return read(domain, sequence, {.persistent = virDomainIsPersistent(domain) == 1});
}

Result<DomainReading> read_domain(virConnectPtr connect, const std::string& uuid) {
  const std::uint64_t sequence = next_sequence();
  const DomainHandle domain = look_up(connect, uuid);
  if (!domain) {
    if (libvirt_error_number() != VIR_ERR_NO_DOMAIN) return Unexpected(libvirt_error(uuid));
    DomainReading gone;
    gone.sequence = sequence;
    gone.uuid = uuid;
    return gone;
  }
  return read_handle(domain.get(), sequence);
}

Result<FullReading> read_all_domains(virConnectPtr connect) {
  FullReading result;
  result.sequence = next_sequence();
  std::vector<DomainHandle> all;
  std::vector<DomainHandle> persistent;
  std::vector<DomainHandle> paused;
  std::vector<DomainHandle> saved;
  if (!list_domains(connect, 0, all) ||
      !list_domains(connect, VIR_CONNECT_LIST_DOMAINS_PERSISTENT, persistent) ||
      !list_domains(connect, VIR_CONNECT_LIST_DOMAINS_PAUSED, paused) ||
      !list_domains(connect, VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, saved))
    return Unexpected(libvirt_error("list of domains"));
  const auto uuids_of = [](const std::vector<DomainHandle>& domains) {
    std::set<std::string> uuids;
    for (const DomainHandle& domain : domains)
      uuids.insert(uuid_of(domain.get()));
    return uuids;
  };
  const auto persistent_uuids = uuids_of(persistent);
  const auto paused_uuids = uuids_of(paused);
  const auto saved_uuids = uuids_of(saved);
  for (const DomainHandle& domain : all) {
    const std::string uuid = uuid_of(domain.get());
    // Which run is there the list has told, however late the rest is read.
    Result<DomainReading> reading = read(
        domain.get(), result.sequence,
        {persistent_uuids.contains(uuid), paused_uuids.contains(uuid), saved_uuids.contains(uuid)});
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
  if (virDomainGetID(domain.get()) != static_cast<unsigned>(-1)) {
    auto element = element_of(domain.get(), VIR_DOMAIN_AFFECT_LIVE);
    if (!element) return Unexpected(std::move(element).error());
    reading.active = element->has_value();
    reading.live = std::move(*element).value_or("");
  }
  auto element = element_of(domain.get(), VIR_DOMAIN_AFFECT_CONFIG);
  if (!element) return Unexpected(std::move(element).error());
  reading.config = std::move(*element).value_or("");
  reading.saved = !reading.active && has_saved_image(domain.get());
  return reading;
}

}  // namespace vf
