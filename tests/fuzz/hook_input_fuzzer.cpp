// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What libvirt writes to the hook: a domain's XML, in which a domain's owner chose the metadata.

#include <cstdint>
#include <cstdlib>

#include "hooks/domain_scan.h"
#include "wire/hook.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vf;
  const std::string_view xml(reinterpret_cast<const char*>(data), size);
  const DomainScan scan = scan_domain(xml);
  if (!scan.uuid.empty() && !is_uuid(scan.uuid)) std::abort();
  if (scan.element.empty()) return 0;
  // The element stands on its own: in another document it is found again, as it is.
  const DomainScan again = scan_domain(
      "<domain><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>"
      "<metadata>" +
      scan.element + "</metadata></domain>");
  if (again.required != scan.required) std::abort();
  if (again.element != scan.element) std::abort();
  return 0;
}
