// SPDX-License-Identifier: LGPL-2.1-or-later
//
// By the shell itself.

#include "glib/shell_word.h"

#include <glib.h>
#include <gtest/gtest.h>

#include "glib/ref.h"

namespace vf {
namespace {

std::string as_the_shell_reads(const std::string& line) {
  gchar* out = nullptr;
  const std::string script = "printf %s " + line;
  const gchar* words[] = {"/bin/sh", "-c", script.c_str(), nullptr};
  EXPECT_TRUE(g_spawn_sync(nullptr, const_cast<gchar**>(words), nullptr, G_SPAWN_DEFAULT, nullptr,
                           nullptr, &out, nullptr, nullptr, nullptr));
  return take_string(out);
}

TEST(ShellWord, IsOneWordWhateverIsInIt) {
  for (const char* word : {"web", "my web", "a;id $(id)", "it's", "`id`", "a\nb", "\"", "*", "~",
                           "-n", "a\\b", "#web", "größe", "!x"})
    EXPECT_EQ(as_the_shell_reads(shell_word(word)), word);
  EXPECT_EQ(shell_word(""), "''");
}

TEST(ShellWord, WhatNeedsNoQuotesHasNone) {
  for (const char* word : {"web", "tcp:8080:80", "192.168.122.0/24", "a_b-c.d@e%f+g,h=i"})
    EXPECT_EQ(shell_word(word), word);
}

}  // namespace
}  // namespace vf
