// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Command lines that findings name, ready to be pasted into a shell.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/definition_xml.h"
#include "core/forward_view.h"

namespace vf {

// "ssh" by its name, else its definition's identity, as `list` and `remove` have them.
std::string forward_name(const ForwardView& forward);

// "virt-forward remove web ssh --live"
std::string remove_command(const ForwardView& forward, std::string_view scope);
// "virt-forward add web 2222:22 --name ssh --live": exactly this definition. Nothing where a line
// of a shell, as it is shown, cannot say it.
std::optional<std::string> add_command(const std::string& domain,
                                       const ForwardDefinition& definition, std::string_view scope);

// Opens our element of one side of the domain in an editor.
enum class Side { live, config };
std::string edit_command(const std::string& domain, Side side);

// What the metadata of a domain says on one side, as far as it was asked for.
using SeenMetadata = std::optional<ParsedDefinitions>;
// The definition that a forward comes from; null: not known.
const ForwardDefinition* definition_of(const ForwardView& forward, const SeenMetadata& metadata);
// Makes `side` have the definition, null: not known, of a forward that the other side has. `there`:
// what `side` says now.
std::string copy_command(const ForwardView& forward, const ForwardDefinition* definition, Side side,
                         const SeenMetadata& there);

// Makes the forward of a running domain anew with this definition; null: not known, so that it is
// edited by hand, as `hint` says.
std::string make_again(const ForwardView& forward, const ForwardDefinition* definition,
                       std::string_view scope, std::string_view hint);

// Whether its definition names an address that is not among those that the guest is known to have,
// and nothing got there; and the command that makes it go to wherever the guest listens.
bool goes_astray(const DomainView& domain, const ForwardView& forward);
std::string lead_back_command(const ForwardView& forward, const SeenMetadata& live);

}  // namespace vf
