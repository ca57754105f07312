/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the programs of redirect.bpf.c and the daemon write for each other. C, and fixed layout:
 * addresses and ports are in network order, an IPv4 address is written as ::ffff:a.b.c.d.
 */

#pragma once

#include <linux/types.h>

enum { redirect_most_entries = 32768 };

/* Where a client connects to: the key of the map. */
struct redirect_host {
  __u32 address[4];
  __u32 port; /* htons() of it */
};

/* Where it is taken. */
struct redirect_guest {
  __u32 address[4];
  __u32 port;
  __u32 forward[4]; /* a digest of the forward's key, so that its sockets can be told from others */
};

/* Stays with a redirected socket for as long as that lives. */
struct redirect_mark {
  struct redirect_host host;
  struct redirect_guest guest;
};
