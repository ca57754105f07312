// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The messages about guests and their agents.

#pragma once

#include "wire/guest.h"
#include "wire/relay_codec.h"

namespace vf::relay_codec {

template <>
struct Codec<RelayGuestOpen> {
  static bool valid(const RelayGuestOpen& open) {
    return fits(open.guest) && open.control.size() == 1 &&
           !std::holds_alternative<AgentEndpoint>(open.agent) && fits(open.agent);
  }
  static void write(const RelayGuestOpen& open, Writer& to) {
    to.key(open.guest);
    to.endpoint(open.agent);
    to.number(static_cast<std::uint8_t>(open.wants_udp));
  }
  static RelayGuestOpen read(Reader& from, std::vector<Fd>& fds) {
    RelayGuestOpen open;
    open.guest = from.key();
    if (auto agent = from.endpoint()) open.agent = std::move(*agent);
    if (std::holds_alternative<AgentEndpoint>(open.agent)) from.fail();
    open.wants_udp = from.flag();
    open.control.push_back(from.only(fds));
    return open;
  }
};

template <>
struct Codec<RelayGuestWants> {
  static bool valid(const RelayGuestWants& wants) { return fits(wants.guest); }
  static void write(const RelayGuestWants& wants, Writer& to) {
    to.key(wants.guest);
    to.number(static_cast<std::uint8_t>(wants.wants_udp));
  }
  static RelayGuestWants read(Reader& from, std::vector<Fd>&) {
    RelayGuestWants wants;
    wants.guest = from.key();
    wants.wants_udp = from.flag();
    return wants;
  }
};

template <>
struct Codec<RelayGuestClose> {
  static bool valid(const RelayGuestClose& close) { return fits(close.guest); }
  static void write(const RelayGuestClose& close, Writer& to) { to.key(close.guest); }
  static RelayGuestClose read(Reader& from, std::vector<Fd>&) { return {from.key()}; }
};

template <>
struct Codec<RelayGuestUp> {
  static bool valid(const RelayGuestUp& up) {
    return fits(up.guest) && fits_printable(up.program, GuestHello::max_program_bytes);
  }
  static void write(const RelayGuestUp& up, Writer& to) {
    to.key(up.guest);
    to.number(up.fallback_ms);
    to.text(up.program);
  }
  static RelayGuestUp read(Reader& from, std::vector<Fd>&) {
    RelayGuestUp up;
    up.guest = from.key();
    up.fallback_ms = from.number<std::uint32_t>();
    up.program = from.printable_text(GuestHello::max_program_bytes);
    return up;
  }
};

template <>
struct Codec<RelayGuestDown> {
  static bool valid(const RelayGuestDown& down) { return fits(down.guest); }
  static void write(const RelayGuestDown& down, Writer& to) {
    to.key(down.guest);
    to.number(down.fault);
    to.number(down.error_number);
    to.number(down.status);
    to.number(down.version);
  }
  static RelayGuestDown read(Reader& from, std::vector<Fd>&) {
    RelayGuestDown down;
    down.guest = from.key();
    down.fault = from.choice(RelayGuestFault::not_understood);
    down.error_number = from.number<std::int32_t>();
    down.status = from.number<std::uint16_t>();
    down.version = from.number<std::uint16_t>();
    return down;
  }
};

template <>
struct Codec<RelayGuestListener> {
  static bool valid(const RelayGuestListener& told) {
    return fits(told.guest) && fits(told.listener);
  }
  static void write(const RelayGuestListener& told, Writer& to) {
    to.key(told.guest);
    to.listener(told.listener);
  }
  static RelayGuestListener read(Reader& from, std::vector<Fd>&) {
    RelayGuestListener told;
    told.guest = from.key();
    told.listener = from.listener();
    return told;
  }
};

template <>
struct Codec<RelayGuestGone> {
  static bool valid(const RelayGuestGone& gone) { return fits(gone.guest); }
  static void write(const RelayGuestGone& gone, Writer& to) {
    to.key(gone.guest);
    to.listener(gone.key);
  }
  static RelayGuestGone read(Reader& from, std::vector<Fd>&) {
    RelayGuestGone gone;
    gone.guest = from.key();
    gone.key = from.listener_key();
    return gone;
  }
};

template <>
struct Codec<RelayGuestSynced> {
  static bool valid(const RelayGuestSynced& synced) { return fits(synced.guest); }
  static void write(const RelayGuestSynced& synced, Writer& to) {
    to.key(synced.guest);
    to.number(synced.left_out);
    to.number(synced.slowed);
  }
  static RelayGuestSynced read(Reader& from, std::vector<Fd>&) {
    RelayGuestSynced synced;
    synced.guest = from.key();
    synced.left_out = from.number<std::uint32_t>();
    synced.slowed = from.number<std::uint64_t>();
    return synced;
  }
};

// The text is what somebody in the guest wrote.
template <>
struct Codec<RelayAgentReply> {
  static bool valid(const RelayAgentReply& reply) {
    return fits(reply.guest) && reply.text.size() <= RelayAgentReply::max_text_bytes;
  }
  static void write(const RelayAgentReply& reply, Writer& to) {
    to.key(reply.guest);
    to.number(reply.sequence);
    to.number(reply.step);
    to.text(reply.text);
  }
  static RelayAgentReply read(Reader& from, std::vector<Fd>&) {
    RelayAgentReply reply;
    reply.guest = from.key();
    reply.sequence = from.number<std::uint64_t>();
    reply.step = from.choice(RelayAgentStep::end);
    reply.text = from.text(RelayAgentReply::max_text_bytes);
    return reply;
  }
};

template <>
struct Codec<RelayAgentAnswer> {
  static bool valid(const RelayAgentAnswer& answer) { return fits(answer.guest); }
  static void write(const RelayAgentAnswer& answer, Writer& to) {
    to.key(answer.guest);
    to.number(answer.sequence);
    to.number(static_cast<std::uint8_t>(answer.understood));
    to.number(answer.number);
  }
  static RelayAgentAnswer read(Reader& from, std::vector<Fd>&) {
    RelayAgentAnswer answer;
    answer.guest = from.key();
    answer.sequence = from.number<std::uint64_t>();
    answer.understood = from.flag();
    answer.number = from.number<std::int64_t>();
    return answer;
  }
};

}  // namespace vf::relay_codec
