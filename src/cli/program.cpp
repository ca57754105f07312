// SPDX-License-Identifier: LGPL-2.1-or-later

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "cli/output.h"
#include "cli/verb.h"

namespace vf {
namespace {

constexpr std::array<const Verb*, 11> table{
    &add_verb,   &remove_verb,  &list_verb,  &url_verb,     &watch_verb,   &auto_verb,
    &block_verb, &unblock_verb, &allow_verb, &explain_verb, &complete_verb};

// Edits (insert, delete, replace, swap of neighbours) from one word to the other.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::vector<std::size_t>> d(from.size() + 1, std::vector<std::size_t>(to.size() + 1));
  for (std::size_t i = 0; i <= from.size(); ++i) {
    for (std::size_t j = 0; j <= to.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      const bool same = from[i - 1] == to[j - 1];
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (same ? 0u : 1u)});
      if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[from.size()][to.size()];
}

std::string unknown_verb(std::string_view word) {
  const Verb* nearest = nullptr;
  std::size_t least = 3;
  for (const Verb* verb : table) {
    const std::size_t edits = verb->hidden || word.size() > 32 ? least : distance(word, verb->name);
    if (edits < least && edits < verb->name.size()) {
      least = edits;
      nearest = verb;
    }
  }
  std::string message = quote(word) + " is not a verb; ";
  if (nearest) return message + "did you mean " + quote(nearest->name) + "?";
  message += "allowed are ";
  for (const Verb* verb : table)
    if (!verb->hidden)
      message += std::string(verb == table.front() ? "" : ", ") + std::string(verb->name);
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
