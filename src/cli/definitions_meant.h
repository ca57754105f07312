// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The definitions of one domain that words of a command line mean, for verbs that edit them whole.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/daemons.h"

namespace vf {

// The ports of one definition.
std::vector<ForwardView> of_definition(const std::vector<ForwardView>& forwards,
                                       const std::string& definition);

// The definitions that the words mean, in their order, each once. `edited`: what the verb does to a
// range as a whole, "removed". Errors as of match_forward(), and for a part of a range.
Result<std::vector<std::string>> definitions_meant(const std::vector<ForwardView>& forwards,
                                                   const std::vector<std::string>& words,
                                                   const std::string& edited);

// Why a definition cannot be edited: it is none, but follows what the guest has open.
std::optional<Error> automatic_error(const FoundDomain& found,
                                     const std::vector<ForwardView>& ports);

}  // namespace vf
