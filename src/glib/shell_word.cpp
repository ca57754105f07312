// SPDX-License-Identifier: LGPL-2.1-or-later

#include "glib/shell_word.h"

#include <glib.h>

#include <string_view>

#include "glib/ref.h"

namespace vf {

std::string shell_word(const std::string& word) {
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:=@%+,";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  return take_string(g_shell_quote(word.c_str()));
}

}  // namespace vf
