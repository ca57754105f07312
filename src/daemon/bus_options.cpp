// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_options.h"

#include "base/printable.h"
#include "core/definition.h"
#include "core/forward_entry.h"
#include "glib/ref.h"

namespace vf {
namespace {

constexpr std::size_t most_attributes = 64;

Unexpected invalid(std::string message) {
  return Unexpected(ErrorCode::invalid_argument, std::move(message));
}

}  // namespace

Result<EditOptions> parse_edit_options(GVariant* options, OwnOption own) {
  EditOptions parsed;
  GVariantIter iter;
  g_variant_iter_init(&iter, options);
  const gchar* key = nullptr;
  GVariant* boxed = nullptr;
  while (g_variant_iter_next(&iter, "{&sv}", &key, &boxed)) {
    const std::string name = key;
    const auto value = adopt(boxed);
    if (name == "process" && own == OwnOption::process) {
      if (!g_variant_is_of_type(value.get(), G_VARIANT_TYPE_STRING))
        return invalid("option \"process\" is a text (s), not " +
                       std::string(g_variant_get_type_string(value.get())));
      parsed.process = g_variant_get_string(value.get(), nullptr);
      continue;
    }
    bool* const wanted = name == "live"                                   ? &parsed.scope.live
                         : name == "config"                               ? &parsed.scope.config
                         : name == "persistent"                           ? &parsed.scope.persistent
                         : name == "drain" && own == OwnOption::drain     ? &parsed.drain
                         : name == "dry-run" && own == OwnOption::dry_run ? &parsed.dry_run
                                                                          : nullptr;
    if (!wanted)
      return invalid("option \"" + printable(name) +
                     "\" is unknown; known are live, config, persistent" +
                     (own == OwnOption::drain     ? ", drain"
                      : own == OwnOption::process ? ", process"
                      : own == OwnOption::dry_run ? ", dry-run"
                                                  : ""));
    if (!g_variant_is_of_type(value.get(), G_VARIANT_TYPE_BOOLEAN))
      return invalid("option \"" + name + "\" is a boolean (b), not " +
                     g_variant_get_type_string(value.get()));
    *wanted = g_variant_get_boolean(value.get()) != FALSE;
  }
  return parsed;
}

Result<ForwardAttributes> parse_attributes(GVariant* attributes) {
  if (g_variant_n_children(attributes) > most_attributes)
    return invalid("a forward has at most " + std::to_string(most_attributes) + " attributes");
  ForwardAttributes parsed;
  GVariantIter iter;
  g_variant_iter_init(&iter, attributes);
  const gchar* name = nullptr;
  const gchar* value = nullptr;
  while (g_variant_iter_next(&iter, "{&s&s}", &name, &value)) {
    for (const auto& [known, unused] : parsed)
      if (known == name) return invalid("attribute \"" + printable(name) + "\" is given twice");
    if (std::string_view(value).size() > DefinitionLimits::value_bytes)
      return invalid("attribute \"" + printable(name) + "\" is longer than " +
                     std::to_string(DefinitionLimits::value_bytes) + " bytes");
    parsed.emplace_back(name, value);
  }
  return parsed;
}

Result<std::vector<ForwardAttributes>> parse_forwards(GVariant* forwards) {
  const std::size_t count = g_variant_n_children(forwards);
  if (count > DefinitionLimits::forwards)
    return invalid(std::to_string(count) + " forwards at once; allowed are at most " +
                   std::to_string(DefinitionLimits::forwards));
  std::vector<ForwardAttributes> parsed;
  for (std::size_t entry = 0; entry < count; ++entry) {
    auto attributes = parse_attributes(adopt(g_variant_get_child_value(forwards, entry)).get());
    if (!attributes) return Unexpected(of_entry(std::move(attributes).error(), entry));
    parsed.push_back(*std::move(attributes));
  }
  return parsed;
}

}  // namespace vf
