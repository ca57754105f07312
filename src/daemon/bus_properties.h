// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The content of the D-Bus objects: the one place where a view becomes properties. What is unknown
// is absent, as xml/org.virtforward1.xml says.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/forward_view.h"
#include "daemon/model.h"
#include "glib/ref.h"

namespace vf {

// Each is an a{sv}.
Ref<GVariant> manager_properties(const Model& model);
Ref<GVariant> domain_properties(const DomainView& domain);
Ref<GVariant> forward_properties(const ForwardView& forward);
Ref<GVariant> port_properties(const PortView& port);

// The a{sa{sv}} of one object with one interface.
Ref<GVariant> as_interfaces(const char* interface, const Ref<GVariant>& properties);

// A D-Bus string; bytes that are none are made visible.
GVariant* new_string(const std::string& text);

// In answers; floating. What is unknown is left out of an a{st}.
using Figures = std::initializer_list<std::pair<const char*, std::optional<std::uint64_t>>>;
GVariant* figures_variant(Figures figures);
GVariant* counters_variant(const ForwardCounters& counters);
GVariant* lanes_variant(const std::vector<LaneStatistics>& lanes);
// The a(oqq) of forwards that were added or changed.
GVariant* added_variant(const std::vector<ForwardView>& forwards);

}  // namespace vf
