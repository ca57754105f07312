// SPDX-License-Identifier: LGPL-2.1-or-later

#include <algorithm>
#include <array>

#include "cli/nearest.h"
#include "cli/output.h"
#include "cli/verb.h"

namespace vf {
namespace {

constexpr std::array<const Verb*, 16> table{
    &add_verb,    &remove_verb, &enable_verb, &disable_verb, &list_verb,  &url_verb,
    &watch_verb,  &auto_verb,   &block_verb,  &unblock_verb, &allow_verb, &explain_verb,
    &import_verb, &export_verb, &doctor_verb, &complete_verb};

std::string unknown_verb(std::string_view word) {
  std::vector<std::string> names;
  for (const Verb* verb : table)
    if (!verb->hidden) names.emplace_back(verb->name);
  std::string message = quote(word) + " is not a verb";
  if (const std::string hint = did_you_mean(word, names); !hint.empty()) return message + hint;
  message += "; allowed are ";
  for (const std::string& name : names)
    message += (name == names.front() ? "" : ", ") + name;
  return message;
}

std::string program_help(Options& options) {
  std::string page = options.help("virt-forward");
  page += "Verbs:\n";
  for (const Verb* verb : table) {
    if (verb->hidden) continue;
    std::string name(verb->name);
    name.resize(10, ' ');
    page += "  " + name + std::string(verb->summary) + '\n';
  }
  page += "\n\"virt-forward VERB --help\" explains a verb; virt-forward(1) has the whole.\n";
  return page;
}

}  // namespace

std::span<const Verb* const> verbs() {
  return table;
}

std::optional<int> take_arguments(const Verb& verb, Call& call, Options& options,
                                  std::vector<std::string>& positional, std::size_t least,
                                  std::size_t most) {
  options.global(call.globals);
  const std::string program = "virt-forward " + std::string(verb.name);
  auto parsed = options.parse(call.arguments);
  if (call.globals.help) {
    print(options.help(program));
    return 0;
  }
  Error wrong{ErrorCode::invalid_argument, ""};
  if (!parsed)
    wrong = parsed.error();
  else if (parsed->size() < least)
    wrong.message = "too few arguments";
  else if (parsed->size() > most)
    wrong.message = quote((*parsed)[most]) + " is one argument too many";
  if (!wrong.message.empty()) {
    say(wrong.message + "; usage: " + program + " " + std::string(verb.parameters) + " (" +
        program + " --help says more)");
    return exit_status(wrong.code);
  }
  positional = std::move(*parsed);
  return std::nullopt;
}

int run_command_line(const std::vector<std::string>& command_line) {
  Call call;
  call.command_line = command_line;
  Options options("VERB …", "Forwards ports of libvirt guests to this host.");
  bool version = false;
  options.flag("version", 'V', version, "Print the version");
  options.global(call.globals);
  auto rest = options.parse(command_line, true);
  if (!rest) {
    say(rest.error().message + "; see virt-forward --help");
    return exit_status(rest.error().code);
  }
  if (version) {
    print("virt-forward " VF_VERSION "\n");
    return 0;
  }
  if (rest->empty()) {
    if (call.globals.help) {
      print(program_help(options));
      return 0;
    }
    say("which verb? " + std::string("see virt-forward --help"));
    return exit_status(ErrorCode::invalid_argument);
  }
  const std::string& word = rest->front();
  const auto verb = std::find_if(table.begin(), table.end(),
                                 [&](const Verb* known) { return known->name == word; });
  if (verb == table.end()) {
    say(unknown_verb(word));
    return exit_status(ErrorCode::invalid_argument);
  }
  call.arguments.assign(rest->begin() + 1, rest->end());
  return (*verb)->run(**verb, call);
}

}  // namespace vf
