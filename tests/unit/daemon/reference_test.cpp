// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The reference page that the build makes of the interface's comments says something of everything.

#include <gmock/gmock.h>

#include <fstream>

#include "base/error.h"
#include "glib/object_path.h"
#include "glib/ref.h"
#include "interface_xml.h"

namespace vf {
namespace {

using testing::HasSubstr;

class Reference : public testing::Test {
 protected:
  Reference() : node_(g_dbus_node_info_new_for_xml(interface_xml, nullptr)) {
    std::ifstream file(VF_BINARY_DIR "/xml/org.virtforward1.rst");
    page_.assign(std::istreambuf_iterator<char>(file), {});
  }
  ~Reference() override { g_dbus_node_info_unref(node_); }
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;

  // What stands below the heading, up to the next one that is underlined alike.
  std::string section(const std::string& heading) const {
    const std::string begin = '\n' + heading + '\n' + std::string(heading.size(), '^') + '\n';
    const std::size_t at = page_.find(begin);
    if (at == std::string::npos) return {};
    const std::size_t text = at + begin.size();
    return page_.substr(text, page_.find("\n^^^", text) - text);
  }

  // The prose: without the signature (indented), labels and the next heading.
  static std::string prose(const std::string& section, const std::string& next_of) {
    std::string words;
    std::istringstream lines(section);
    for (std::string line; std::getline(lines, line);)
      if (!line.empty() && line != "::" && !line.starts_with(' ') && !line.starts_with(next_of) &&
          !line.starts_with("..") && !line.starts_with('-'))
        words += line + ' ';
    return words;
  }

  GDBusNodeInfo* node_;
  std::string page_;
};

TEST_F(Reference, DocumentsEveryInterfaceMethodArgumentAndProperty) {
  ASSERT_GT(page_.size(), 10000u) << "no " VF_BINARY_DIR "/xml/org.virtforward1.rst";
  unsigned members = 0;
  for (GDBusInterfaceInfo** info = node_->interfaces; *info; ++info) {
    const std::string interface = (*info)->name;
    const std::size_t described = page_.find(".. _" + interface + " Description:\n\n");
    ASSERT_NE(described, std::string::npos) << interface;
    EXPECT_GT(page_.find('\n', described + interface.size() + 20) - described,
              interface.size() + 30)
        << interface;
    for (GDBusPropertyInfo** property = (*info)->properties; property && *property; ++property) {
      ++members;
      const std::string name = interface + ':' + (*property)->name;
      EXPECT_GT(prose(section(name), interface).size(), 4u) << name;
    }
    for (GDBusMethodInfo** method = (*info)->methods; method && *method; ++method) {
      ++members;
      const std::string name = interface + '.' + (*method)->name;
      const std::string text = section(name);
      EXPECT_GT(prose(text, interface).size(), 20u) << name;
      for (GDBusArgInfo** arg = (*method)->in_args; arg && *arg; ++arg) {
        const std::string begin = '\n' + std::string((*arg)->name) + "\n  ";
        const std::size_t at = text.find(begin);
        ASSERT_NE(at, std::string::npos) << name << ' ' << (*arg)->name;
        EXPECT_NE(text[at + begin.size()], '\n') << name << ' ' << (*arg)->name;
      }
      for (GDBusArgInfo** arg = (*method)->out_args; arg && *arg; ++arg)
        EXPECT_THAT(text, HasSubstr("``" + std::string((*arg)->name) + "``")) << name;
    }
  }
  EXPECT_GT(members, 60u);
}

TEST_F(Reference, NamesEveryErrorAndWhoMayDoWhat) {
  for (const ErrorCode code :
       {ErrorCode::failed, ErrorCode::invalid_argument, ErrorCode::no_such_domain,
        ErrorCode::no_such_forward, ErrorCode::ambiguous_name, ErrorCode::domain_not_running,
        ErrorCode::port_busy, ErrorCode::not_allowed, ErrorCode::not_supported}) {
    const std::string row = "\n  " + std::string(error_name(code)) + ' ';
    const std::size_t at = page_.find(row);
    ASSERT_NE(at, std::string::npos) << row;
    EXPECT_THAT(page_.substr(at, 30), HasSubstr('(' + std::to_string(exit_status(code)) + ')'));
  }
  EXPECT_THAT(page_, HasSubstr("\n  NoLibvirt         (7)"));
  const std::size_t who = page_.find("\nWho may\n");
  ASSERT_NE(who, std::string::npos);
  for (GDBusInterfaceInfo** info = node_->interfaces; *info; ++info)
    for (GDBusMethodInfo** method = (*info)->methods; method && *method; ++method)
      EXPECT_NE(page_.find("``" + std::string((*method)->name) + "``", who), std::string::npos)
          << (*method)->name;
}

}  // namespace
}  // namespace vf
