// SPDX-License-Identifier: LGPL-2.1-or-later
//
// libvirt has no compare-and-swap for metadata. The daemon is the only writer of our element by
// agreement; a writer that does not know about it and comes between our reading and our writing
// wins or loses, but is not mixed up with us: after a write we look whether it is ours that stands,
// and start over from what is there when it is not.
//
// An edit of both sides edits both texts before it writes either. The next start's is written
// first: nothing follows of it yet, so that it can be put back where the live one is refused.

#include "core/definition.h"
#include "plugin/domain_reader.h"
#include "plugin/domain_xml.h"

namespace vf {
namespace {

constexpr int attempts = 5;

Error metadata_error(unsigned side) {
  Error error = libvirt_error(side == VIR_DOMAIN_AFFECT_LIVE ? "live metadata"
                                                             : "metadata of the next start");
  if (side == VIR_DOMAIN_AFFECT_LIVE && libvirt_error_number() == VIR_ERR_OPERATION_INVALID)
    error.code = ErrorCode::domain_not_running;
  return error;
}

Error disturbed() {
  return {ErrorCode::failed, "another program keeps changing the metadata of this domain"};
}

Result<std::string> get(virDomainPtr domain, unsigned side) {
  const LibvirtText text(
      virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, metadata_namespace.data(), side));
  if (text) return std::string(text.get());
  if (libvirt_error_number() == VIR_ERR_NO_DOMAIN_METADATA) return std::string();
  return Unexpected(metadata_error(side));
}

Result<void> set(virDomainPtr domain, unsigned side, const std::string& element) {
  if (virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
                           element.empty() ? nullptr : element.c_str(), "vf",
                           metadata_namespace.data(), side) < 0)
    return Unexpected(metadata_error(side));
  return {};
}

bool same(const std::string& one, const std::string& other) {
  if (one.empty() || other.empty()) return one.empty() && other.empty();
  return one == other || same_element(one, other);
}

// True when the element stands now, false when somebody else's does.
Result<bool> replace(virDomainPtr domain, unsigned side, const std::string& before,
                     const std::string& element) {
  if (before == element) return true;
  Result<void> written = set(domain, side, element);
  const Result<std::string> now = get(domain, side);
  if (!written) {
    // What libvirt cannot put into its file it has in memory all the same, and starts domains by.
    if (now && !same(*now, before) && same(*now, element))
      (void)set(domain, side, before).has_value();
    return Unexpected(std::move(written).error());
  }
  if (!now) return Unexpected(now.error());
  return same(*now, element);
}

// Takes an edit of the next start's side back, unless another program's words stand there.
Result<void> put_back(virDomainPtr domain, const std::string& ours, const std::string& before) {
  if (ours == before) return {};
  const Result<std::string> now = get(domain, VIR_DOMAIN_AFFECT_CONFIG);
  if (!now) return Unexpected(now.error());
  if (!same(*now, ours)) return {};
  const Result<bool> stands = replace(domain, VIR_DOMAIN_AFFECT_CONFIG, *now, before);
  if (!stands) return Unexpected(stands.error());
  return {};
}

struct Sides {
  std::string live;
  std::string config;
};

Result<Sides> get_sides(virDomainPtr domain, MetadataTarget target) {
  Sides sides;
  if (target.live) {
    Result<std::string> text = get(domain, VIR_DOMAIN_AFFECT_LIVE);
    if (!text) return Unexpected(std::move(text).error());
    sides.live = *std::move(text);
  }
  if (target.config) {
    Result<std::string> text = get(domain, VIR_DOMAIN_AFFECT_CONFIG);
    if (!text) return Unexpected(std::move(text).error());
    sides.config = *std::move(text);
  }
  return sides;
}

Result<Sides> edited(const Sides& before, MetadataTarget target, const LibvirtHost::Edit& edit) {
  Sides after;
  if (target.live) {
    Result<std::string> text = edit(before.live);
    if (!text) return Unexpected(std::move(text).error());
    after.live = *std::move(text);
  }
  if (target.config) {
    Result<std::string> text = edit(before.config);
    if (!text) return Unexpected(std::move(text).error());
    after.config = *std::move(text);
  }
  return after;
}

}  // namespace

Result<MetadataReading> write_metadata(virConnectPtr connect, const std::string& uuid,
                                       MetadataTarget target, const LibvirtHost::Edit& edit) {
  const DomainHandle domain = look_up(connect, uuid);
  if (!domain) return Unexpected(libvirt_error("domain " + uuid));
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const Result<Sides> before = get_sides(domain.get(), target);
    if (!before) return Unexpected(before.error());
    const Result<Sides> after = edited(*before, target, edit);
    if (!after) return Unexpected(after.error());
    if (target.config) {
      const Result<bool> stands =
          replace(domain.get(), VIR_DOMAIN_AFFECT_CONFIG, before->config, after->config);
      if (!stands) return Unexpected(stands.error());
      if (!*stands) continue;
    }
    if (target.live) {
      const Result<bool> stands =
          replace(domain.get(), VIR_DOMAIN_AFFECT_LIVE, before->live, after->live);
      if (!stands || !*stands) {
        const Result<void> back =
            target.config ? put_back(domain.get(), after->config, before->config) : Result<void>();
        Error error = stands ? disturbed() : stands.error();
        if (!back)
          error.message += "; its next start has the change all the same (" + back.error().message +
                           "): virsh metadata --config shows it";
        if (!stands || !back) return Unexpected(std::move(error));
        continue;
      }
    }
    return read_metadata(connect, uuid);
  }
  return Unexpected(disturbed());
}

}  // namespace vf
