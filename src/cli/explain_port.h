// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Why a forward or a port is as it is, from what the daemon shows and what holds this host's ports.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/port_spec.h"
#include "client/json.h"
#include "doctor/port_holder.h"
#include "doctor/words.h"

namespace vf {

// What the daemon shows of one domain.
struct ShownDomain {
  DomainView domain;
  std::vector<ForwardView> forwards;
  std::vector<PortView> ports;
  // Its metadata; nothing where nothing explained needs it, or it could not be read.
  SeenMetadata live;
  SeenMetadata config;
};

PortExplanation explain_forward(const ShownDomain& shown, const ForwardView& forward,
                                const PortHolders& holders);

// Everything that a port number could mean: forwards that have it on the host or in the guest, and
// ports of the guest without a forward. Nothing at all gives one explanation of that. `protocol`
// absent: any.
std::vector<PortExplanation> explain_port(const ShownDomain& shown, Port port,
                                          std::optional<Protocol> protocol,
                                          const PortHolders& holders);

// A paragraph for people, with its table of ways.
std::string page(const PortExplanation& explanation, bool color, bool notes_below);

}  // namespace vf
