// SPDX-License-Identifier: LGPL-2.1-or-later
//
// --live, --config and --persistent, as virsh has them, and what an edit without them means.

#pragma once

#include "cli/options.h"
#include "client/daemon.h"

namespace vf {

// Of edits that go to both where nothing is said.
void add_lasting_scope_options(Options& options, EditFlags& edit);
void add_scope_options(Options& options, EditFlags& edit);

// Says that an edit of the running domain alone does not last, where it could have.
void say_if_passing(const DomainView& domain, const EditFlags& edit, const char* what);

// DomainNotRunning names the option that stores the edit for the next start.
Error with_scope_hint(Error error, const DomainView& domain);

}  // namespace vf
