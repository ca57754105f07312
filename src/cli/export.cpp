// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/daemons.h"
#include "cli/forward_file.h"
#include "cli/output.h"
#include "cli/scope.h"
#include "cli/verb.h"
#include "client/json.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

enum class Format { list, json, xml };

Result<Format> format_of(const std::optional<std::string>& given, bool json) {
  if (!given) return json ? Format::json : Format::list;
  if (*given == "json") return Format::json;
  if (*given != "list" && *given != "xml")
    return Unexpected(ErrorCode::invalid_argument,
                      "--format is " + quote(*given) + "; allowed are list, json and xml");
  if (json)
    return Unexpected(ErrorCode::invalid_argument,
                      "--json and --format " + *given + " exclude each other");
  return *given == "xml" ? Format::xml : Format::list;
}

std::string written(const Definitions& definitions, Format format) {
  switch (format) {
    case Format::list:
      return list_text(definitions.forwards);
    case Format::json:
      return json_definitions(definitions.forwards);
    case Format::xml:
      break;
  }
  return write_definitions(definitions) + '\n';
}

int run_export(const Verb& verb, Call& call) {
  EditFlags side;
  std::optional<std::string> wanted;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.text("format", 0, wanted, "FORMAT", "list (the default), json or xml");
  options.flag("live", 0, side.live, "Of the running domain (the default where it runs)");
  options.flag("config", 0, side.config, "Of what the next start brings");
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 1, 1)) return *over;
  const auto format = format_of(wanted, call.globals.json);
  if (!format) return fail(format.error());

  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  const auto element = found->daemon->metadata(found->path, side);
  if (!element) return fail(element.error());
  const ParsedDefinitions parsed = parse_definitions(*element);
  print(written(parsed.definitions, *format));
  for (const DefinitionError& error : parsed.errors)
    say("left out: " + error.text());
  return parsed.errors.empty() ? 0 : exit_status(ErrorCode::failed);
}

}  // namespace

const Verb export_verb{
    "export",
    "DOMAIN",
    "Write forwards as \"import\" takes them",
    "Writes the forwards of DOMAIN's metadata, one a line, as \"import\" and \"add\" take them.",
    false,
    run_export};

}  // namespace vf
