// SPDX-License-Identifier: LGPL-2.1-or-later
//
// --live, --config and --persistent, as virsh has them, and what an edit without them means.

#pragma once

#include "cli/daemons.h"
#include "cli/options.h"
#include "client/daemon.h"
#include "core/definition.h"

namespace vf {

// Of edits that go to both where nothing is said.
void add_lasting_scope_options(Options& options, EditFlags& edit);
void add_scope_options(Options& options, EditFlags& edit);

// Whether the edit is one of the next start alone.
bool only_stored(const EditFlags& edit, const DomainView& domain);

// Says that an edit of the running domain alone does not last, where it could have, and how it
// would.
void say_if_passing(const DomainView& domain, const EditFlags& edit, const char* what);

// Says of a domain with a managed save image when an edit begins to count.
void say_if_saved(const DomainView& domain);

// Of an addition to both: one of them has this very definition, and it goes to the other alone.
EditFlags missing_half(const FoundDomain& found, const ForwardDefinition& wanted, EditFlags edit);

// DomainNotRunning names the option that stores the edit for the next start.
Error with_scope_hint(Error error, const DomainView& domain);

}  // namespace vf
