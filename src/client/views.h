// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From the properties of D-Bus objects to the views of src/core/forward_view.h.

#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/forward_view.h"
#include "glib/ref.h"

namespace vf {

// Properties of one interface of one object.
using Properties = std::map<std::string, Ref<GVariant>, std::less<>>;

// `dictionary` is an a{sv}; what it holds replaces what `properties` had of the same names.
void merge(Properties& properties, GVariant* dictionary);

// A property that is missing or of another type than documented is unknown. A word that this
// program does not know (a newer daemon) makes the state `failed` with a reason that says so.
ForwardView forward_view(const Properties& properties);
// A word of a state that is not known makes it `ignored` with a reason that says so.
PortView port_view(const Properties& properties);
DomainView domain_view(const Properties& properties);

}  // namespace vf
