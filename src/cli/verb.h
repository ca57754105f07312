// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One verb of the command line: a file of this folder each, all of them in verbs().

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"

namespace vf {

struct Call {
  GlobalOptions globals;
  std::vector<std::string> arguments;     // behind the verb
  std::vector<std::string> command_line;  // all of it, but the program's name
};

struct Verb {
  std::string_view name;
  std::string_view parameters;  // for the usage line
  std::string_view summary;     // one line of the list of verbs
  std::string_view description;
  bool hidden = false;
  int (*run)(const Verb& verb, Call& call) = nullptr;  // exit status
};

std::span<const Verb* const> verbs();

extern const Verb add_verb;
extern const Verb remove_verb;
extern const Verb enable_verb;
extern const Verb disable_verb;
extern const Verb list_verb;
extern const Verb url_verb;
extern const Verb watch_verb;
extern const Verb auto_verb;
extern const Verb block_verb;
extern const Verb unblock_verb;
extern const Verb allow_verb;
extern const Verb explain_verb;
extern const Verb import_verb;
extern const Verb export_verb;
extern const Verb doctor_verb;
extern const Verb complete_verb;

// Parses the options of a verb and counts its arguments. The exit status, when the verb is over
// with that: help was asked for, or the usage is wrong.
std::optional<int> take_arguments(const Verb& verb, Call& call, Options& options,
                                  std::vector<std::string>& positional, std::size_t least,
                                  std::size_t most);

// Everything: options before the verb, the verb, --help and --version.
int run_command_line(const std::vector<std::string>& command_line);

}  // namespace vf
