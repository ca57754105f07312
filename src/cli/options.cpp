// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/options.h"

#include <algorithm>

#include "cli/nearest.h"
#include "glib/ref.h"

namespace vf {

Options::Options(std::string parameters, std::string description)
    : parameters_(std::move(parameters)), description_(std::move(description)) {}

void Options::entry(const char* name, char letter, GOptionArg kind, gpointer target,
                    const char* help, const char* placeholder) {
  entries_.push_back({name, letter, G_OPTION_FLAG_NONE, kind, target, help, placeholder});
}

void Options::flag(const char* name, char letter, bool& value, const char* help) {
  Flag& slot = flags_.emplace_back(Flag{FALSE, &value});
  entry(name, letter, G_OPTION_ARG_NONE, &slot.given, help, nullptr);
}

void Options::text(const char* name, char letter, std::optional<std::string>& value,
                   const char* placeholder, const char* help) {
  Text& slot = texts_.emplace_back(Text{nullptr, &value});
  // FILENAME, not STRING: that one refuses what the locale cannot spell.
  entry(name, letter, G_OPTION_ARG_FILENAME, &slot.given, help, placeholder);
}

void Options::texts(const char* name, char letter, std::vector<std::string>& values,
                    const char* placeholder, const char* help) {
  Texts& slot = lists_.emplace_back(Texts{nullptr, &values});
  entry(name, letter, G_OPTION_ARG_FILENAME_ARRAY, &slot.given, help, placeholder);
}

void Options::global(GlobalOptions& globals, bool with_json) {
  globals_ = &globals;
  if (with_json) flag("json", 0, globals.json, "Print JSON");
  text("connect", 'c', globals.connect, "URI",
       "The daemon of this libvirt connection: qemu:///system, qemu:///session");
  texts("address", 0, globals.addresses, "ADDRESS",
        "The daemon at this D-Bus address; may be repeated");
  text("color", 0, color_, "WHEN", "Colour: auto, always or never");
  flag("help", 'h', globals.help, "Show this help");
}

// GOption names the unknown option in its text alone, so it is looked for among the arguments: the
// first that is none of ours.
std::string Options::explained(const GErrorOut& error,
                               const std::vector<std::string>& arguments) const {
  if (!g_error_matches(error.get(), G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION))
    return error.message();
  std::vector<std::string> names;
  for (const GOptionEntry& entry : entries_)
    names.push_back("--" + std::string(entry.long_name));
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    const std::string name = argument.substr(0, argument.find('='));
    if (name.starts_with("--") && std::find(names.begin(), names.end(), name) == names.end())
      return error.message() + did_you_mean(name, names);
  }
  return error.message();
}

GOptionContext* Options::context() {
  GOptionContext* context = g_option_context_new(parameters_.c_str());
  g_option_context_set_help_enabled(context, FALSE);
  g_option_context_set_summary(context, description_.c_str());
  return context;
}

Result<std::vector<std::string>> Options::parse(const std::vector<std::string>& arguments,
                                                bool stop_early) {
  std::vector<std::string> copies{"virt-forward"};
  copies.insert(copies.end(), arguments.begin(), arguments.end());
  std::vector<gchar*> argv;
  for (std::string& argument : copies)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  gchar** cursor = argv.data();
  int count = static_cast<int>(copies.size());

  gchar** rest = nullptr;
  std::vector<GOptionEntry> entries = entries_;
  entries.push_back({G_OPTION_REMAINING, 0, G_OPTION_FLAG_NONE, G_OPTION_ARG_FILENAME_ARRAY, &rest,
                     nullptr, nullptr});
  entries.push_back({});
  if (stop_early) entries.erase(entries.end() - 2);
  GOptionContext* options = context();
  g_option_context_set_strict_posix(options, stop_early);
  g_option_context_add_main_entries(options, entries.data(), nullptr);
  GErrorOut error;
  const bool parsed = g_option_context_parse(options, &count, &cursor, error.out());
  g_option_context_free(options);

  std::vector<std::string> left;
  if (stop_early)
    left.assign(cursor + 1, cursor + count);
  else
    for (gchar** at = rest; at && *at; ++at)
      left.emplace_back(*at);
  g_strfreev(rest);
  for (const Flag& slot : flags_)
    if (slot.given) *slot.value = true;
  for (Text& slot : texts_)
    if (slot.given) *slot.value = take_string(std::exchange(slot.given, nullptr));
  for (Texts& slot : lists_) {
    if (!slot.given) continue;
    slot.value->clear();
    for (gchar** at = slot.given; *at; ++at)
      slot.value->emplace_back(*at);
    g_strfreev(std::exchange(slot.given, nullptr));
  }
  if (!parsed) return Unexpected(ErrorCode::invalid_argument, explained(error, arguments));

  if (globals_ && color_) {
    if (color_ != "auto" && color_ != "always" && color_ != "never")
      return Unexpected(ErrorCode::invalid_argument,
                        "--color is \"" + *color_ + "\"; allowed are auto, always and never");
    globals_->color = *color_;
  }
  return left;
}

std::string Options::help(const std::string& program) {
  GOptionContext* options = context();
  std::vector<GOptionEntry> entries = entries_;
  entries.push_back({});
  g_option_context_add_main_entries(options, entries.data(), nullptr);
  const GCharPtr previous(g_strdup(g_get_prgname()));
  g_set_prgname(program.c_str());
  std::string page = take_string(g_option_context_get_help(options, TRUE, nullptr));
  g_set_prgname(previous.get());
  g_option_context_free(options);
  return page;
}

}  // namespace vf
