// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

namespace vf {

// Reading a thousand domains and answering for all their forwards takes tens of megabytes for a
// moment, and malloc keeps them. Returns them to the kernel, once, two seconds after the last call.
// Main thread only.
void return_memory_soon();

}  // namespace vf
