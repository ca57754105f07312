// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Arguments of the editing methods, checked: what is not known is an error that names it.

#pragma once

#include <gio/gio.h>

#include "base/result.h"
#include "daemon/model.h"

namespace vf {

struct EditOptions {
  EditScope scope;
  bool drain = false;
  bool dry_run = false;
  std::string process;
};

// The option that a method knows besides live, config and persistent.
enum class OwnOption { none, drain, dry_run, process };

// `options` is an a{sv}. InvalidArgument.
Result<EditOptions> parse_edit_options(GVariant* options, OwnOption own);

// `attributes` is an a{ss}. InvalidArgument when there are more than a definition can have; what
// they mean is checked where definitions are.
Result<ForwardAttributes> parse_attributes(GVariant* attributes);
// `forwards` is an aa{ss}: the same of each (of_entry()), and no more than a document can have.
Result<std::vector<ForwardAttributes>> parse_forwards(GVariant* forwards);

}  // namespace vf
