// SPDX-License-Identifier: LGPL-2.1-or-later

#include "glib/object_path.h"

#include <gio/gio.h>
#include <gtest/gtest.h>

#include "glib/ref.h"

namespace vf {
namespace {

constexpr char uuid[] = "0c1b2a39-4857-6675-8493-a2b1c0d9e8f7";

TEST(ObjectPath, SpellsDomainsAndForwards) {
  EXPECT_EQ(domain_path(uuid), "/org/virtforward1/domain/0c1b2a39_4857_6675_8493_a2b1c0d9e8f7");
  EXPECT_EQ(forward_path(uuid, "tcp:8080:80"),
            "/org/virtforward1/forward/0c1b2a39_4857_6675_8493_a2b1c0d9e8f7_tcp_3a8080_3a80");
}

TEST(ObjectPath, EveryIdComesBackAndMakesAValidPath) {
  std::string every_byte;
  for (int byte = 1; byte < 256; ++byte)
    every_byte += static_cast<char>(byte);
  for (const std::string& id : {std::string("ssh"), std::string("a_b"), std::string("é $(x)/.."),
                                std::string("8000-8009#8001"), every_byte}) {
    const std::string path = forward_path(uuid, id);
    EXPECT_TRUE(g_variant_is_object_path(path.c_str())) << path;
    EXPECT_EQ(parse_object_path(path), (ObjectName{uuid, id}));
  }
  EXPECT_EQ(parse_object_path(domain_path(uuid)), (ObjectName{uuid, ""}));
  EXPECT_EQ(parse_object_path(port_path(uuid, "tcp:80")), (ObjectName{uuid, "tcp:80", true}));
}

TEST(ObjectPath, RefusesWhatItNeverMakes) {
  const std::string domain = domain_path(uuid);
  const std::string forward = forward_path(uuid, "");
  for (const std::string& path :
       {std::string(), std::string("/"), std::string(root_path), std::string(domains_path),
        std::string(forwards_path), std::string("/org/virtforward1/domain/"), domain + "/x",
        domain + "0", std::string("/org/virtforward1/domainx"),
        std::string("/org/virtforward1/domain/0C1B2A39_4857_6675_8493_a2b1c0d9e8f7"), forward,
        forward + "_", forward + "a_", forward + "a_3", forward + "a_3A", forward + "a_zz",
        forward + "_61", forward + "a/b", forward + "a-b"})
    EXPECT_FALSE(parse_object_path(path)) << path;
}

}  // namespace
}  // namespace vf
