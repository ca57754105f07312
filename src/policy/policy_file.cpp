// SPDX-License-Identifier: LGPL-2.1-or-later

#include "policy/policy_file.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "base/printable.h"
#include "core/definition_schema.h"
#include "glib/ref.h"

namespace vf {
namespace {

using Words = std::vector<std::string>;
// Takes the words of one key into the policy; what is allowed when they are wrong.
using Setter = std::function<std::string(Policy&, const Words&)>;

template <typename T, typename Parse>
Setter list_of(std::vector<T> Policy::*member, Parse parse_word, const char* allowed) {
  return [=](Policy& policy, const Words& words) -> std::string {
    std::vector<T> values;
    for (const std::string& word : words) {
      auto value = parse_word(word);
      if (!value) return '"' + printable(word, 80) + "\": allowed are " + allowed;
      values.push_back(*value);
    }
    policy.*member = std::move(values);
    return {};
  };
}

Setter number(std::uint32_t Policy::*member, std::uint32_t most) {
  return [=](Policy& policy, const Words& words) -> std::string {
    const std::string text = words.empty() ? "" : words.front();
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (words.size() != 1 || error != std::errc() || end != text.data() + text.size() ||
        value < 1 || value > most)
      return '"' + printable(text, 80) + "\": allowed is a number from 1 to " +
             std::to_string(most);
    policy.*member = value;
    return {};
  };
}

// One word of a list of ours.
template <typename Word>
Setter word(Word Policy::*member, const char* allowed) {
  return [=](Policy& policy, const Words& words) -> std::string {
    const auto value = words.size() == 1 ? parse<Word>(words.front()) : std::nullopt;
    if (!value)
      return '"' + printable(words.empty() ? "" : words.front(), 80) + "\": allowed are " + allowed;
    policy.*member = *value;
    return {};
  };
}

std::optional<Transport> transport(const std::string& word) {
  const auto parsed = parse<Transport>(word);
  return parsed == Transport::automatic ? std::nullopt : parsed;
}

std::optional<Offload> offload(const std::string& word) {
  const auto parsed = parse<Offload>(word);
  return parsed == Offload::automatic || parsed == Offload::none ? std::nullopt : parsed;
}

// [ssh-keys] NAME = PATH: names are as in the metadata, so that each can be asked for.
std::string set_ssh_key(Policy& policy, const std::string& name, const Words& words) {
  if (!is_key_name(name)) return "names of keys have letters, digits, '.', '_' and '-'";
  if (words.size() != 1 || !words.front().starts_with('/'))
    return "allowed is the absolute path of a private key's file";
  policy.ssh_keys[name] = words.front();
  return {};
}

std::optional<std::string> socket_directory(const std::string& word) {
  return word.starts_with('/') ? std::optional(word) : std::nullopt;
}

struct KeyRow {
  const char* group;
  const char* key;
  Setter set;
};

const std::vector<KeyRow>& key_table() {
  static const std::vector<KeyRow> table{
      {"host", "addresses",
       list_of(&Policy::host_addresses, IpAddress::parse, "literal IPv4 and IPv6 addresses")},
      {"host", "ports",
       list_of(&Policy::host_ports, PortRange::parse, "ports and ranges like 8000-8999")},
      {"host", "socket-directories",
       list_of(&Policy::socket_directories, socket_directory, "absolute paths")},
      {"host", "transports",
       list_of(&Policy::transports, transport, "tcp, vsock, ssh and usernet")},
      {"host", "offloads", list_of(&Policy::offloads, offload, "redirect and nftables")},
      {"host", "automatic", word(&Policy::automatic, "yes and no")},
      {"limits", "forwards-per-domain", number(&Policy::forwards_per_domain, 65535)},
      {"limits", "automatic-ports-per-domain", number(&Policy::automatic_ports_per_domain, 65535)},
      {"limits", "connections-per-forward", number(&Policy::connections_per_forward, 1000000)},
      {"limits", "connections-per-domain", number(&Policy::connections_per_domain, 1000000)},
  };
  return table;
}

bool is_refused(const GErrorOut& error) {
  return g_error_matches(error.get(), G_FILE_ERROR, G_FILE_ERROR_ACCES) == TRUE;
}

std::vector<std::string> policy_files(const std::string& directory, LoadedPolicy& loaded) {
  std::vector<std::string> drop_ins;
  const std::string drop_in_directory = directory + "/virt-forward.conf.d";
  GErrorOut error;
  if (GDir* entries = g_dir_open(drop_in_directory.c_str(), 0, error.out())) {
    while (const gchar* name = g_dir_read_name(entries))
      if (g_str_has_suffix(name, ".conf")) drop_ins.push_back(drop_in_directory + '/' + name);
    g_dir_close(entries);
  } else if (is_refused(error)) {
    loaded.problems.push_back({drop_in_directory, error.message(), true});
  }
  std::sort(drop_ins.begin(), drop_ins.end());
  drop_ins.insert(drop_ins.begin(), directory + "/virt-forward.conf");
  return drop_ins;
}

Words words_of(GKeyFile* file, const char* group, const char* key) {
  gsize count = 0;
  Words words;
  gchar** list = g_key_file_get_string_list(file, group, key, &count, nullptr);
  for (gsize index = 0; index < count; ++index)
    words.push_back(g_strstrip(list[index]));
  g_strfreev(list);
  return words;
}

void take_file(const std::string& path, LoadedPolicy& loaded) {
  const Ref<GKeyFile> file = adopt(g_key_file_new());
  g_key_file_set_list_separator(file.get(), ';');
  GErrorOut error;
  gchar* text = nullptr;
  gsize length = 0;
  if (!g_file_get_contents(path.c_str(), &text, &length, error.out())) {
    if (!g_error_matches(error.get(), G_FILE_ERROR, G_FILE_ERROR_NOENT))
      loaded.problems.push_back({path, error.message(), is_refused(error)});
    return;
  }
  const GCharPtr owned(text);
  // GKeyFile ends at a NUL, as a file that a crash left half written may have.
  if (std::string_view(text, length).find('\0') != std::string_view::npos) {
    loaded.problems.push_back({path, "is not text"});
    return;
  }
  if (!g_key_file_load_from_data(file.get(), text, length, G_KEY_FILE_NONE, error.out())) {
    loaded.problems.push_back({path, error.message()});
    return;
  }
  gchar** groups = g_key_file_get_groups(file.get(), nullptr);
  for (gchar** group = groups; *group; ++group) {
    gchar** keys = g_key_file_get_keys(file.get(), *group, nullptr, nullptr);
    for (gchar** key = keys; key && *key; ++key) {
      const std::string place = "[" + printable(*group, 80) + "] " + printable(*key, 80);
      const auto& table = key_table();
      const auto row = std::find_if(table.begin(), table.end(), [&](const KeyRow& candidate) {
        return g_str_equal(candidate.group, *group) && g_str_equal(candidate.key, *key);
      });
      const bool names_key = g_str_equal(*group, "ssh-keys");
      if (row == table.end() && !names_key) {
        loaded.problems.push_back({path, place + ": no such setting"});
        continue;
      }
      const Words words = words_of(file.get(), *group, *key);
      const std::string wrong =
          names_key ? set_ssh_key(loaded.policy, *key, words) : row->set(loaded.policy, words);
      if (wrong.empty())
        loaded.policy.files[{*group, *key}] = path;
      else
        loaded.problems.push_back({path, place + ": " + wrong});
    }
    g_strfreev(keys);
  }
  g_strfreev(groups);
}

}  // namespace

LoadedPolicy load_policy(const std::string& directory, Policy defaults) {
  LoadedPolicy loaded{.policy = std::move(defaults), .problems = {}};
  loaded.policy.main_file = directory + "/virt-forward.conf";
  for (const std::string& path : policy_files(directory, loaded))
    take_file(path, loaded);
  return loaded;
}

}  // namespace vf
