/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the programs of redirect.bpf.c and the daemon write for each other. C, and fixed layout:
 * addresses and ports are in network order, an IPv4 address is written as ::ffff:a.b.c.d.
 */

#pragma once

#include <linux/types.h>

enum { redirect_most_entries = 32768 };

/* Words of 64 bits only: for a loader without CAP_PERFMON Linux 6.1 refuses a program that fills
 * one half of a word of its stack and then the other. */

/* Where a client connects to: the key of the map. */
struct redirect_host {
  __u64 address[2];
  __u64 port; /* htons() of it */
};

/* Where it is taken. */
struct redirect_guest {
  __u64 address[2];
  __u64 port;
  __u64 forward[2]; /* a digest of the forward's key, so that its sockets can be told from others */
};

/* Value of the map. */
struct redirect_way {
  struct redirect_guest guest;
  __u64 told; /* when a failure of it was told last, in ns of the monotonic clock; 0: never */
};

/* A connection by a way that is in the map did not get through. */
struct redirect_failure {
  __u64 forward[2];
  __u64 error; /* errno value; 0 where nobody knows */
};

/* Stays with a redirected socket for as long as that lives. */
struct redirect_mark {
  struct redirect_host host;
  struct redirect_guest guest;
};
