// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/forward_file.h"

#include <algorithm>
#include <map>

#include "base/printable.h"
#include "cli/forward_file_json.h"
#include "core/definition_attributes.h"
#include "core/definition_xml.h"
#include "core/forward_spec.h"
#include "glib/ref.h"

namespace vf {
namespace {

using Attributes = std::vector<std::pair<std::string, std::string>>;

// Editors of other systems begin a file with it; it says nothing.
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

std::string_view without_leading_space(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

// An IPv6 address of a list begins with a bracket, too.
bool is_json(std::string_view text) {
  if (text.starts_with('{')) return true;
  if (!text.starts_with('[')) return false;
  const std::string_view next = without_leading_space(text.substr(1));
  return next.empty() || next.front() == '{' || next.front() == ']';
}

// The words of a line as a shell takes them; none for a line that is empty or a comment.
Result<std::vector<std::string>> words_of(const std::string& line) {
  gchar** words = nullptr;
  gint count = 0;
  GErrorOut error;
  if (!g_shell_parse_argv(line.c_str(), &count, &words, error.out())) {
    if (g_error_matches(error.get(), G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING))
      return std::vector<std::string>();
    return Unexpected(ErrorCode::invalid_argument, error.message());
  }
  std::vector<std::string> list(words, words + count);
  g_strfreev(words);
  return list;
}

// NAME=VALUE; a word with anything but letters in front of the sign is none.
std::optional<std::pair<std::string, std::string>> attribute_of(const std::string& word) {
  const std::size_t sign = word.find('=');
  if (sign == std::string::npos || sign == 0) return std::nullopt;
  const auto in_a_name = [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; };
  if (!std::all_of(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(sign), in_a_name))
    return std::nullopt;
  return std::pair(word.substr(0, sign), word.substr(sign + 1));
}

Result<ForwardDefinition> definition_of(const std::vector<std::string>& words) {
  Attributes attributes;
  for (const std::string& word : words) {
    if (auto attribute = attribute_of(word)) {
      attributes.push_back(*std::move(attribute));
      continue;
    }
    if (&word != &words.front())
      return Unexpected(ErrorCode::invalid_argument,
                        '"' + printable(word) +
                            "\" is no attribute; allowed are NAME=VALUE behind " +
                            "the forward, as in name=web");
    const auto spec = parse_forward_spec(word);
    if (!spec) return Unexpected(spec.error());
    attributes = spec->attributes();
  }
  return parse_forward(attributes);
}

void read_list(std::string_view text, ForwardFile& file) {
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string line(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const std::string place = "line " + std::to_string(++number);
    if (line.ends_with('\r')) line.pop_back();
    std::replace(line.begin(), line.end(), '\t', ' ');
    const auto words = words_of(line);
    if (words && words->empty()) continue;
    auto definition = words ? definition_of(*words) : Unexpected(words.error());
    if (definition)
      file.forwards.push_back({*std::move(definition), place});
    else
      file.errors.push_back(place + ": " + definition.error().message);
  }
}

void read_xml(std::string_view text, ForwardFile& file) {
  const ParsedDefinitions parsed = parse_definitions(text);
  for (const DefinitionError& error : parsed.errors)
    file.errors.push_back(error.text());
  for (std::size_t i = 0; i < parsed.definitions.forwards.size(); ++i)
    file.forwards.push_back(
        {parsed.definitions.forwards[i], "<forward> number " + std::to_string(i + 1)});
  if (parsed.definitions.automatic || parsed.definitions.ssh)
    file.notes.emplace_back(
        "<auto> and <ssh> are left out; `virsh metadata DOMAIN urn:virt-forward:1 --key vf --set` "
        "sets the whole");
}

void check_identities(ForwardFile& file) {
  std::map<std::string, std::string> places;
  for (const FiledForward& forward : file.forwards) {
    const std::string identity = forward.definition.identity();
    const auto [first, fresh] = places.emplace(identity, forward.place);
    if (!fresh)
      file.errors.push_back(forward.place + ": \"" + printable(identity) + "\" is in " +
                            first->second + " already; give one of them another name");
  }
}

std::string quoted_word(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return g_ascii_isalnum(c) || std::string_view("-_./:[]=,@%+").find(c) != std::string_view::npos;
  });
  return plain ? word : take_string(g_shell_quote(word.c_str()));
}

// The forward in the words of `add`; empty where a line of the list cannot say it so.
std::string spec_text(const ForwardDefinition& forward) {
  const std::string text = forward_spec_text(forward);
  return attribute_of(text) ? std::string() : text;
}

}  // namespace

ForwardFile read_forward_file(std::string_view text) {
  ForwardFile file;
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  if (text.find('\0') != std::string_view::npos || text.size() > DefinitionLimits::document_bytes) {
    file.errors.emplace_back("it is no text, or longer than " +
                             std::to_string(DefinitionLimits::document_bytes) + " bytes");
    return file;
  }
  if (!g_utf8_validate(text.data(), static_cast<gssize>(text.size()), nullptr)) {
    file.errors.emplace_back("it is not UTF-8");
    return file;
  }
  const std::string_view begin = without_leading_space(text);
  if (is_json(begin))
    read_json_forwards(text, file);
  else if (begin.starts_with('<'))
    read_xml(text, file);
  else
    read_list(text, file);
  check_identities(file);
  return file;
}

std::string list_text(const std::vector<ForwardDefinition>& forwards) {
  std::string list;
  for (const ForwardDefinition& forward : forwards) {
    std::string line = quoted_word(spec_text(forward));
    const bool said = !spec_text(forward).empty();
    if (!said) line.clear();
    for (const auto& [name, value] : attributes_of(forward)) {
      const bool in_spec = name == "guest-port" || name == "guest-socket" || name == "host-port" ||
                           name == "host-socket" || name == "host-address" || name == "protocol";
      if (said && in_spec) continue;
      line += (line.empty() ? "" : " ") + quoted_word(name + '=' + value);
    }
    list += line + '\n';
  }
  return list;
}

}  // namespace vf
