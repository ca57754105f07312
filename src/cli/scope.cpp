// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/scope.h"

#include <algorithm>

#include "cli/output.h"
#include "core/definition_xml.h"
#include "glib/shell_word.h"

namespace vf {

void add_scope_options(Options& options, EditFlags& edit) {
  options.flag("live", 0, edit.live, "Edit the running domain (the default)");
  options.flag("config", 0, edit.config, "Edit what the next start brings");
  options.flag("persistent", 0, edit.persistent, "Both: the running domain and its next start");
}

void add_lasting_scope_options(Options& options, EditFlags& edit) {
  options.flag("live", 0, edit.live, "Edit the running domain alone");
  options.flag("config", 0, edit.config, "Edit what the next start brings alone");
  options.flag("persistent", 0, edit.persistent, "Both (the default, where there are both)");
}

bool only_stored(const EditFlags& edit, const DomainView& domain) {
  return (edit.config && !edit.live && !edit.persistent) || (edit.persistent && !domain.active);
}

void say_if_passing(const DomainView& domain, const EditFlags& edit, const char* what) {
  if (!domain.active || !domain.persistent || edit.config || edit.persistent) return;
  say(std::string(what) + " at the next start of " + quote(domain.name) +
      "; the same with --config makes it last (--persistent: both at once)");
}

void say_if_saved(const DomainView& domain) {
  if (!domain.saved) return;
  say(quote(domain.name) +
      " is saved, and its next start goes on as it was then: this counts from a start after that "
      "(virsh managedsave-remove " +
      shell_word(domain.name) + " gives the saved state up)");
}

EditFlags missing_half(const FoundDomain& found, const ForwardDefinition& wanted, EditFlags edit) {
  if (!found.domain.active || !(edit.persistent || (edit.live && edit.config))) return edit;
  const auto has = [&](bool live) {
    EditFlags side;
    (live ? side.live : side.config) = true;
    const auto element = found.daemon->metadata(found.path, side);
    if (!element) return false;
    const auto forwards = parse_definitions(*element).definitions.forwards;
    return std::find(forwards.begin(), forwards.end(), wanted) != forwards.end();
  };
  const bool live = has(true);
  if (live == has(false)) return edit;
  edit.persistent = false;
  edit.live = !live;
  edit.config = live;
  return edit;
}

Error with_scope_hint(Error error, const DomainView& domain) {
  if (error.code != ErrorCode::domain_not_running ||
      error.message.find("--config") != std::string::npos)
    return error;
  error.message = "domain " + quote(domain.name) +
                  " does not run; start it, or use --config to edit what its next start brings";
  return error;
}

}  // namespace vf
