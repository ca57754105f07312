// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/libvirt_handles.h"

namespace vf {
namespace {

ErrorCode code_of(int number) {
  switch (number) {
    case VIR_ERR_NO_DOMAIN:
      return ErrorCode::no_such_domain;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
      return ErrorCode::not_allowed;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
      return ErrorCode::not_supported;
    default:
      return ErrorCode::failed;
  }
}

void swallow(void*, virErrorPtr) {}

}  // namespace

Error libvirt_error(std::string_view what) {
  const virError* error = virGetLastError();
  std::string message(what);
  message += ": ";
  message += error && error->message ? error->message : "unknown error";
  return {code_of(error ? error->code : VIR_ERR_OK), std::move(message)};
}

int libvirt_error_number() {
  return virGetLastErrorCode();
}

void silence_libvirt() {
  virSetErrorFunc(nullptr, swallow);
}

std::string uuid_of(virDomainPtr domain) {
  char text[VIR_UUID_STRING_BUFLEN] = "";
  virDomainGetUUIDString(domain, text);
  return text;
}

DomainHandle look_up(virConnectPtr connect, const std::string& uuid) {
  return DomainHandle(virDomainLookupByUUIDString(connect, uuid.c_str()));
}

bool list_domains(virConnectPtr connect, unsigned flags, std::vector<DomainHandle>& domains) {
  virDomainPtr* list = nullptr;
  const int count = virConnectListAllDomains(connect, &list, flags);
  if (count < 0) return false;
  const std::unique_ptr<virDomainPtr, FreeMemory> owner(list);
  domains.reserve(domains.size() + static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i)
    domains.emplace_back(list[i]);
  return true;
}

}  // namespace vf
