// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Owners of libvirt's handles and of what it allocates, and its errors as ours.

#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace vf {

// Shared by the main thread and the workers. The last owner closes the connection, which is a
// round trip that may block: let that be a worker.
using ConnectHandle = std::shared_ptr<virConnect>;

inline ConnectHandle share_connect(virConnectPtr connect) {
  return ConnectHandle(connect, [](virConnectPtr owned) {
    if (owned) virConnectClose(owned);
  });
}

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using DomainHandle = std::unique_ptr<virDomain, FreeDomain>;

struct FreeNetwork {
  void operator()(virNetworkPtr network) const { virNetworkFree(network); }
};
using NetworkHandle = std::unique_ptr<virNetwork, FreeNetwork>;

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};
using LibvirtText = std::unique_ptr<char, FreeMemory>;

// "WHAT: what libvirt said", of this thread's last error.
Error libvirt_error(std::string_view what);
// virErrorNumber of this thread's last error, VIR_ERR_OK when there is none.
int libvirt_error_number();
// Keeps libvirt from printing errors on stderr; all threads, once.
void silence_libvirt();

std::string uuid_of(virDomainPtr domain);
// Null when there is none, or on an error: libvirt_error_number() tells.
DomainHandle look_up(virConnectPtr connect, const std::string& uuid);
// All domains that `flags` (virConnectListAllDomainsFlags) select; false on an error.
bool list_domains(virConnectPtr connect, unsigned flags, std::vector<DomainHandle>& domains);

}  // namespace vf
