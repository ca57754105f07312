// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

namespace vf {

// As a word of a shell's line: in quotes where it needs some.
std::string shell_word(const std::string& word);

}  // namespace vf
