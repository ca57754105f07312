// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Takes connect() to a forward's loopback address straight to the guest. One look into a hash map
// per connect(), nothing per byte: the socket is an ordinary one whose peer is the guest.
//
// What would not work there, or is not meant, is left alone and so reaches the relay: a socket with
// a source address (127.0.0.1 cannot talk to a guest), with a device, with a mark (its route may
// be another), and an IPV6_V6ONLY one that would get an IPv4 peer.
//
// A redirected socket carries a mark, from which getpeername() answers what the application asked
// for, and by which the daemon counts and ends exactly these sockets. Without the mark there is no
// redirection. It is taken off at the next connect() of the same socket.
//
// Nobody but the kernel sees how a redirected connect() ends, so where it does not get through the
// daemon is told, of each address once a second at most. "Not through" is also an application that
// does not wait any longer: those who wait shortly only would meet a dead guest forever. It costs a
// live one little, as the relay is asked for the next connection and proves it right.

#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "redirect_map.h"

// The kernel lets nobody else read its structures. Section 3 of the LGPL allows for it.
char terms[] SEC("license") = "GPL";

// Of the only network namespace that is served.
volatile const __u64 netns_cookie = 0;

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, redirect_most_entries);
  __type(key, struct redirect_host);
  __type(value, struct redirect_way);
} guests SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct redirect_mark);
} marks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} failures SEC(".maps");

// The fields that are needed of the kernel's; where they lie is found out when this is loaded.
struct sock_common {
  unsigned char skc_ipv6only : 1;
} __attribute__((preserve_access_index));
struct sock {
  int sk_err;
} __attribute__((preserve_access_index));

enum { allow = 1, stream = 1 /* SOCK_STREAM */ };
enum { told_again_after = 1000000000 };  // ns

// Of a word in network order, which the kernel shows in halves.
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static __always_inline __u64 word(__u32 first, __u32 second) {
  return first | (__u64)second << 32;
}
static __always_inline __u32 first(__u64 word) {
  return word;
}
static __always_inline __u32 second(__u64 word) {
  return word >> 32;
}
#else
static __always_inline __u64 word(__u32 first, __u32 second) {
  return second | (__u64)first << 32;
}
static __always_inline __u32 first(__u64 word) {
  return word >> 32;
}
static __always_inline __u32 second(__u64 word) {
  return word;
}
#endif

static __always_inline bool is_mapped(const __u64 *address) {
  return address[0] == 0 && first(address[1]) == bpf_htonl(0xffff);
}

static __always_inline bool is_v6only(struct bpf_sock *sk) {
  void *tcp = bpf_skc_to_tcp6_sock(sk);
  if (!tcp) return true;
  const struct sock_common *common = tcp;
  return BPF_CORE_READ_BITFIELD(common, skc_ipv6only);
}

// Whether this socket is one that may be redirected at all; its old mark is off then.
static __always_inline bool is_candidate(struct bpf_sock_addr *ctx) {
  if (ctx->type != stream || ctx->protocol != IPPROTO_TCP) return false;
  if (bpf_get_netns_cookie(ctx) != netns_cookie) return false;
  bpf_sk_storage_delete(&marks, ctx->sk);
  return ctx->sk->bound_dev_if == 0 && ctx->sk->mark == 0;
}

static __always_inline bool mark(struct bpf_sock_addr *ctx, const struct redirect_host *host,
                                 const struct redirect_guest *guest) {
  struct redirect_mark value = {*host, *guest};
  return bpf_sk_storage_get(&marks, ctx->sk, &value, BPF_SK_STORAGE_GET_F_CREATE);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx) {
  if (!is_candidate(ctx) || ctx->sk->src_ip4 != 0) return allow;
  struct redirect_host host = {{0, word(bpf_htonl(0xffff), ctx->user_ip4)}, ctx->user_port};
  const struct redirect_way *way = bpf_map_lookup_elem(&guests, &host);
  if (!way) return allow;
  const struct redirect_guest *guest = &way->guest;
  if (!is_mapped(guest->address) || !mark(ctx, &host, guest)) return allow;
  ctx->user_ip4 = second(guest->address[1]);
  ctx->user_port = guest->port;
  return allow;
}

static __always_inline int connect_v6(struct bpf_sock_addr *ctx, bool v6only_can_be_read) {
  if (!is_candidate(ctx)) return allow;
  if (ctx->sk->src_ip6[0] || ctx->sk->src_ip6[1] || ctx->sk->src_ip6[2] || ctx->sk->src_ip6[3])
    return allow;
  struct redirect_host host = {{word(ctx->user_ip6[0], ctx->user_ip6[1]),
                                word(ctx->user_ip6[2], ctx->user_ip6[3])},
                               ctx->user_port};
  const struct redirect_way *way = bpf_map_lookup_elem(&guests, &host);
  if (!way) return allow;
  const struct redirect_guest *guest = &way->guest;
  // An IPV6_V6ONLY socket that asks for an IPv4 address itself is refused with or without us.
  if (is_mapped(guest->address) && !is_mapped(host.address) &&
      (!v6only_can_be_read || is_v6only(ctx->sk)))
    return allow;
  if (!mark(ctx, &host, guest)) return allow;
  ctx->user_ip6[0] = first(guest->address[0]);
  ctx->user_ip6[1] = second(guest->address[0]);
  ctx->user_ip6[2] = first(guest->address[1]);
  ctx->user_ip6[3] = second(guest->address[1]);
  ctx->user_port = guest->port;
  return allow;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx) {
  return connect_v6(ctx, true);
}

// In place of connect6 where CAP_PERFMON is missing.
SEC("cgroup/connect6")
int connect6_without_perfmon(struct bpf_sock_addr *ctx) {
  return connect_v6(ctx, false);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx) {
  const struct redirect_mark *found = bpf_sk_storage_get(&marks, ctx->sk, 0, 0);
  if (!found || ctx->user_ip4 != second(found->guest.address[1]) || ctx->user_port != found->guest.port)
    return allow;
  ctx->user_ip4 = second(found->host.address[1]);
  ctx->user_port = found->host.port;
  return allow;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx) {
  const struct redirect_mark *found = bpf_sk_storage_get(&marks, ctx->sk, 0, 0);
  if (!found || word(ctx->user_ip6[0], ctx->user_ip6[1]) != found->guest.address[0] ||
      word(ctx->user_ip6[2], ctx->user_ip6[3]) != found->guest.address[1] ||
      ctx->user_port != found->guest.port)
    return allow;
  ctx->user_ip6[0] = first(found->host.address[0]);
  ctx->user_ip6[1] = second(found->host.address[0]);
  ctx->user_ip6[2] = first(found->host.address[1]);
  ctx->user_ip6[3] = second(found->host.address[1]);
  ctx->user_port = found->host.port;
  return allow;
}

// The daemon goes without where CAP_PERFMON is missing. Sockets of other network namespaces have no
// mark. One that was ended by force (ECONNABORTED) says nothing of the guest.
SEC("tp_btf/inet_sock_set_state")
int state_changed(__u64 *ctx) {
  if ((int)ctx[1] != BPF_TCP_SYN_SENT || (int)ctx[2] != BPF_TCP_CLOSE) return 0;
  struct sock *sk = (struct sock *)ctx[0];
  const struct redirect_mark *found = bpf_sk_storage_get(&marks, sk, 0, 0);
  if (!found || sk->sk_err == ECONNABORTED) return 0;
  struct redirect_host host = found->host;
  struct redirect_way *way = bpf_map_lookup_elem(&guests, &host);
  if (!way || way->guest.forward[0] != found->guest.forward[0] ||
      way->guest.forward[1] != found->guest.forward[1])
    return 0;
  const __u64 now = bpf_ktime_get_ns();
  if (way->told && now - way->told < told_again_after) return 0;
  struct redirect_failure failure = {{found->guest.forward[0], found->guest.forward[1]},
                                     sk->sk_err};
  if (bpf_ringbuf_output(&failures, &failure, sizeof failure, 0) == 0) way->told = now;
  return 0;
}
