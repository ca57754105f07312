// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Errors of a request that has several forwards: the text of one that is about a single entry
// begins with its number, from 1, as in "entry 3: ".

#pragma once

#include <cstddef>
#include <optional>

#include "base/error.h"

namespace vf {

// `entry` counts from 0.
Error of_entry(Error error, std::size_t entry);
// Takes the number off the text and returns it, from 0; nothing where there is none.
std::optional<std::size_t> take_entry(Error& error);

}  // namespace vf
