// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The user's own daemon, started on demand.

#pragma once

#include "base/result.h"

namespace vf {

// Whether there are traces of libvirt's session daemon: only then can a domain without a connection
// be one of qemu:///session.
bool session_was_used();

// Returns when a daemon listens on the user's private socket. Where none does, one is started: by
// its socket unit where the user has a systemd, else as a process of its own, which outlives this
// one and ends when nothing needs it. Any number of callers at once end up with one daemon.
// NoDaemon says why it cannot be.
Result<void> start_session_daemon();

}  // namespace vf
