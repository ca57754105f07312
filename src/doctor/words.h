// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Command lines that findings name, ready to be pasted into a shell.

#pragma once

#include <string>
#include <string_view>

#include "core/forward_view.h"

namespace vf {

// As a word of a shell's line: in quotes where it needs some.
std::string shell_word(const std::string& word);

// "ssh" by its name, else its definition's identity, as `list` and `remove` have them.
std::string forward_name(const ForwardView& forward);

// "virt-forward remove web ssh --live"
std::string remove_command(const ForwardView& forward, std::string_view scope);
// "virt-forward add web 2222:22 --name ssh --live": as much of the definition as is shown.
std::string add_command(const ForwardView& forward, std::string_view scope);

}  // namespace vf
