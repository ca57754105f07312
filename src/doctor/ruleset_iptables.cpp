// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The lines of iptables-save(8).

#include <glib.h>

#include <algorithm>
#include <charconv>

#include "base/printable.h"
#include "doctor/ruleset.h"

namespace vf {
namespace {

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(by);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> words_of(const std::string& line) {
  gchar** words = nullptr;
  std::vector<std::string> list;
  if (!g_shell_parse_argv(line.c_str(), nullptr, &words, nullptr)) return split(line, ' ');
  for (gchar** at = words; *at; ++at)
    list.emplace_back(*at);
  g_strfreev(words);
  return list;
}

std::optional<FilterValue> address_value(const std::string& word) {
  const std::size_t slash = word.find('/');
  const auto address = IpAddress::parse(word.substr(0, slash));
  if (!address) return std::nullopt;
  unsigned length = static_cast<unsigned>(address->bytes().size()) * 8;
  if (slash != std::string::npos) {
    const auto [end, error] =
        std::from_chars(word.data() + slash + 1, word.data() + word.size(), length);
    if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  }
  const auto range = subnet(*address, length);
  return range ? std::optional<FilterValue>(*range) : std::nullopt;
}

std::optional<FilterValue> number_value(const std::string& word) {
  NumberRange range;
  const std::size_t middle = word.find_first_of(":-");
  const auto read = [](std::string_view text, std::int64_t& into) {
    return std::from_chars(text.data(), text.data() + text.size(), into).ec == std::errc();
  };
  if (!read(word.substr(0, middle), range.low)) return std::nullopt;
  range.high = range.low;
  if (middle != std::string::npos && !read(word.substr(middle + 1), range.high))
    return std::nullopt;
  return range;
}

struct Option {
  FilterKey key;
  std::optional<FilterValue> (*value)(const std::string&);
};

std::optional<FilterValue> link_value(const std::string& word) {
  std::string name = word;
  if (name.ends_with('+')) name.back() = '*';
  return name;
}

std::optional<FilterValue> state_value(const std::string& word) {
  std::string name = word;
  std::ranges::transform(name, name.begin(), g_ascii_tolower);
  return name;
}

std::optional<FilterValue> word_value(const std::string& word) {
  return word;
}

const std::map<std::string, Option, std::less<>> options{
    {"-i", {FilterKey::in_link, link_value}},
    {"-o", {FilterKey::out_link, link_value}},
    {"-s", {FilterKey::source, address_value}},
    {"-d", {FilterKey::destination, address_value}},
    {"-p", {FilterKey::protocol, word_value}},
    {"--sport", {FilterKey::source_port, number_value}},
    {"--dport", {FilterKey::destination_port, number_value}},
    {"--sports", {FilterKey::source_port, number_value}},
    {"--dports", {FilterKey::destination_port, number_value}},
    {"--ctstate", {FilterKey::state, state_value}},
    {"--state", {FilterKey::state, state_value}},
    {"--uid-owner", {FilterKey::uid, number_value}},
};

FilterRule rule_from(const std::vector<std::string>& words, const std::string& line) {
  using Verdict = FilterRule::Verdict;
  FilterRule rule;
  rule.text = printable(line, 200);
  const std::map<std::string, Verdict, std::less<>> verdicts{{"ACCEPT", Verdict::accept},
                                                             {"DROP", Verdict::drop},
                                                             {"REJECT", Verdict::drop},
                                                             {"RETURN", Verdict::leave}};
  bool no = false;
  for (std::size_t at = 2; at < words.size(); ++at) {
    const std::string& word = words[at];
    const bool has_value = at + 1 < words.size();
    if (word == "!") {
      no = true;
      continue;
    }
    if ((word == "-j" || word == "-g") && has_value) {
      const auto verdict = verdicts.find(words[at + 1]);
      rule.verdict = verdict != verdicts.end() ? verdict->second
                     : word == "-g"            ? Verdict::go
                                               : Verdict::jump;
      rule.target = words[at + 1];
      break;  // the rest is the target's
    }
    if ((word == "-m" || word == "--comment") && has_value) {
      ++at;
      continue;
    }
    const auto option = options.find(word);
    if (option == options.end() || !has_value) {
      if (word.starts_with('-'))
        rule.conditions.push_back([](const Packet&) { return Tri::maybe; });
      no = false;
      continue;
    }
    FilterValues values;
    bool known = true;
    for (const std::string& part : split(words[++at], ',')) {
      const auto value = option->second.value(part);
      known = known && value;
      if (value) values.push_back(*value);
    }
    rule.about_us = rule.about_us || option->second.key <= FilterKey::destination_port;
    rule.conditions.push_back(
        [key = option->second.key, values = std::move(values), known, no](const Packet& packet) {
          if (!known) return Tri::maybe;
          const Tri equal = equals(key, values, packet);
          return no ? !equal : equal;
        });
    no = false;
  }
  return rule;
}

}  // namespace

std::vector<FilterTable> read_iptables_save(const std::string& text, FilterTable::Tool tool,
                                            const std::string& family) {
  std::vector<FilterTable> tables;
  for (const std::string& line : split(text, '\n')) {
    if (line.starts_with('*')) {
      tables.push_back({tool, family, line.substr(1), {}});
      continue;
    }
    if (tables.empty() || tables.back().name == "nat") continue;
    auto& chains = tables.back().chains;
    if (line.starts_with(':')) {
      const auto words = split(std::string_view(line).substr(1), ' ');
      if (words.size() < 2) continue;
      FilterChain& chain = chains[words[0]];
      chain.name = words[0];
      chain.drops = words[1] == "DROP";
      if (words[1] != "-") {
        chain.hook = words[0];
        std::ranges::transform(chain.hook, chain.hook.begin(), g_ascii_tolower);
      }
    } else if (line.starts_with("-A ")) {
      const auto words = words_of(line);
      if (words.size() < 2) continue;
      const auto chain = chains.find(words[1]);
      if (chain != chains.end()) chain->second.rules.push_back(rule_from(words, line));
    }
  }
  return tables;
}

}  // namespace vf
