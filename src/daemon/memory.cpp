// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/memory.h"

#include <malloc.h>

#include "glib/source.h"

namespace vf {

void return_memory_soon() {
  static Source pending;
  pending = after(std::chrono::seconds(2), [] { malloc_trim(0); });
}

}  // namespace vf
