// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the messages of wire/relay.h are made of, beside what all messages are (codec.h). For the
// files that encode and decode them.

#pragma once

#include <string>
#include <vector>

#include "wire/codec.h"
#include "wire/relay.h"

namespace vf::relay_codec {

using codec::fits;
using codec::fits_printable;

class Writer : public codec::Writer {
 public:
  using codec::Writer::Writer;
  void forward(const RelayForward& forward);
  void listener(const ListenerKey& key);
  void listener(const GuestListener& listener);
};

class Reader : public codec::Reader {
 public:
  using codec::Reader::Reader;
  RelayForward forward();
  ListenerKey listener_key();
  GuestListener listener();
};

// Within the limits.
bool fits(const RelayForward& forward);
bool fits(const GuestListener& listener);

template <typename T>
struct Codec;

}  // namespace vf::relay_codec
