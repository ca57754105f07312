// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>
#include <string_view>

namespace vf {

// Patterns as a shell's, over the whole text: `*` any characters, `?` one, `[a-z]` one of a class,
// `[!a-z]` one outside of it, `\` takes the next as it is. Case counts. What is not UTF-8 counts
// byte by byte; a '[' that no ']' closes is itself. Takes time by the product of the lengths at
// most.
bool glob_matches(std::string_view pattern, std::string_view text);

// The pattern that matches `text` and nothing else.
std::string literal_glob(std::string_view text);

}  // namespace vf
