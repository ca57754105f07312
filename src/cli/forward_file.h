// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Forwards as a file: what `export` writes and `import` takes.
//
//   list   one a line: [HOST:]GUEST[/udp] as `add` takes it, then attributes of the metadata's
//          <forward> as NAME=VALUE; or attributes alone. Words as a shell takes them: quotes and
//          backslashes, # begins a comment.
//   JSON   an array of objects with these attributes, all of them texts; or GhostVM's config.json,
//          of whose portForwards hostPort, guestPort and enabled are read.
//   XML    our element of the metadata; its <auto> and <ssh> are not read.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/definition.h"

namespace vf {

struct FiledForward {
  ForwardDefinition definition;
  std::string place;  // "line 3", "portForwards[0]"
};

struct ForwardFile {
  std::vector<FiledForward> forwards;
  std::vector<std::string> errors;  // all of them, with their place each
  std::vector<std::string> notes;   // what was left out on purpose
};

// Tells the format by how the text begins. Two forwards of one identity are an error.
ForwardFile read_forward_file(std::string_view text);

std::string list_text(const std::vector<ForwardDefinition>& forwards);

}  // namespace vf
