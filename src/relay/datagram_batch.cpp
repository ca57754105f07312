// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/datagram_batch.h"

#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vf {
namespace {

// A run that the kernel, its device or the path does not take as one. The datagrams alone may go.
bool refuses_run(int error_number) {
  return error_number == EIO || error_number == EINVAL || error_number == EMSGSIZE ||
         error_number == EOPNOTSUPP || error_number == ENOPROTOOPT;
}

// Of earlier datagrams: told by the next call, which then has done nothing else.
bool is_an_answer(int error_number) {
  return error_number == ECONNREFUSED || error_number == EHOSTUNREACH ||
         error_number == ENETUNREACH || error_number == EHOSTDOWN || error_number == EPROTO;
}

template <typename T>
std::uint8_t* put_control(std::uint8_t* at, int level, int type, const T& value) {
  cmsghdr header{};
  header.cmsg_level = level;
  header.cmsg_type = type;
  header.cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(at, &header, sizeof header);
  std::memcpy(at + CMSG_LEN(0), &value, sizeof value);
  return at + CMSG_SPACE(sizeof value);
}

}  // namespace

DatagramBatch& DatagramBatch::of_this_thread() {
  thread_local DatagramBatch batch;
  return batch;
}

DatagramBatch::DatagramBatch() : bytes_(new std::uint8_t[capacity * stride]) {
  for (std::size_t i = 0; i < capacity; ++i) {
    parts_[i] = {bytes_.get() + i * stride, datagram_bytes};
    messages_[i] = {};
    msghdr& header = messages_[i].msg_hdr;
    header.msg_name = senders_[i].get();
    header.msg_iov = &parts_[i];
    header.msg_iovlen = 1;
    header.msg_control = controls_[i].data();
  }
}

int DatagramBatch::receive(int fd) {
  for (std::size_t i = 0; i < used_; ++i) {
    messages_[i].msg_hdr.msg_namelen = sizeof senders_[i].storage;
    messages_[i].msg_hdr.msg_controllen = control_bytes;
  }
  int count = 0;
  do {
    count = recvmmsg(fd, messages_.data(), capacity, MSG_DONTWAIT, nullptr);
  } while (count < 0 && errno == EINTR);
  used_ = static_cast<std::size_t>(std::max(count, 0));
  for (std::size_t i = 0; i < used_; ++i)
    senders_[i].length = messages_[i].msg_hdr.msg_namelen;
  return count;
}

const void* DatagramBatch::control(std::size_t index, int level, int type) const {
  const msghdr& header = messages_[index].msg_hdr;
  for (cmsghdr* one = CMSG_FIRSTHDR(&header); one;
       one = CMSG_NXTHDR(const_cast<msghdr*>(&header), one))
    if (one->cmsg_level == level && one->cmsg_type == type) return CMSG_DATA(one);
  return nullptr;
}

DatagramBatch::Datagram DatagramBatch::datagram(std::size_t index) const {
  const std::size_t length = messages_[index].msg_len;
  int segment = 0;
  if (const void* const told = control(index, SOL_UDP, UDP_GRO))
    std::memcpy(&segment, told, sizeof segment);
  const bool several = segment > 0 && static_cast<std::size_t>(segment) < length;
  return {{bytes_.get() + index * stride, length},
          several ? static_cast<std::uint16_t>(segment) : std::uint16_t{0}};
}

const in_pktinfo* DatagramBatch::to_v4(std::size_t index) const {
  return static_cast<const in_pktinfo*>(control(index, IPPROTO_IP, IP_PKTINFO));
}

const in6_pktinfo* DatagramBatch::to_v6(std::size_t index) const {
  return static_cast<const in6_pktinfo*>(control(index, IPPROTO_IPV6, IPV6_PKTINFO));
}

DatagramWriter::DatagramWriter(const DatagramRoute& route, bool& segments)
    : route_(route), segments_(segments) {}

void DatagramWriter::put(const DatagramBatch::Datagram& datagram) {
  if (datagram.segment == 0) {
    if (joins(datagram.bytes)) {
      Message& run = messages_[message_count_ - 1];
      run.segment = parts_[run.first].iov_len;
      parts_[part_count_++] = {const_cast<std::uint8_t*>(datagram.bytes.data()),
                               datagram.bytes.size()};
      ++run.count;
      run.bytes += datagram.bytes.size();
      return;
    }
    return begin(datagram.bytes, 0);
  }
  if (segments_) return begin(datagram.bytes, datagram.segment);
  for (auto rest = datagram.bytes; !rest.empty();) {
    const std::size_t length = std::min<std::size_t>(datagram.segment, rest.size());
    begin(rest.first(length), 0);
    rest = rest.subspan(length);
  }
}

// A run has datagrams of one size, of which the last may be shorter.
bool DatagramWriter::joins(std::span<const std::uint8_t> bytes) const {
  if (!segments_ || message_count_ == 0 || part_count_ == max_parts || bytes.empty()) return false;
  const Message& run = messages_[message_count_ - 1];
  const std::size_t size = parts_[run.first].iov_len;
  if (run.count == 1 && run.segment != 0) return false;  // came as a run
  return size <= max_run_segment && bytes.size() <= size &&
         parts_[part_count_ - 1].iov_len == size && run.bytes + bytes.size() <= max_run_bytes;
}

void DatagramWriter::begin(std::span<const std::uint8_t> bytes, std::size_t segment) {
  if (part_count_ == max_parts || message_count_ == max_parts) flush();
  parts_[part_count_] = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  messages_[message_count_++] = {part_count_++, 1, bytes.size(), segment};
}

void DatagramWriter::flush() {
  for (std::size_t first = 0; first < message_count_;)
    first += send(first);
  message_count_ = part_count_ = 0;
}

// How many messages are dealt with, one at least.
std::size_t DatagramWriter::send(std::size_t first) {
  thread_local std::array<mmsghdr, max_parts> headers;
  alignas(cmsghdr) thread_local std::array<std::array<std::uint8_t, control_bytes>, max_parts>
      controls;
  const std::size_t count = message_count_ - first;
  for (std::size_t i = 0; i < count; ++i) {
    headers[i].msg_hdr.msg_control = controls[i].data();
    fill(headers[i], messages_[first + i]);
  }
  int sent = 0;
  for (bool again = true; again;) {
    sent = sendmmsg(route_.fd, headers.data(), static_cast<unsigned>(count),
                    MSG_DONTWAIT | MSG_NOSIGNAL);
    again = sent < 0 && (errno == EINTR || (is_an_answer(errno) && error_number_ != errno));
    if (sent < 0 && errno != EINTR) error_number_ = errno;
  }
  if (sent < 0) {
    const Message& failed = messages_[first];
    if (failed.segment != 0 && refuses_run(error_number_)) {
      if (error_number_ != EMSGSIZE) segments_ = false;
      error_number_ = 0;
      send_apart(failed);
    } else {
      lost_ += datagrams(failed);
    }
    return 1;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(sent); ++i)
    bytes_ += messages_[first + i].bytes;
  return static_cast<std::size_t>(sent);
}

void DatagramWriter::send_apart(const Message& message) {
  for (std::size_t i = 0; i < message.count; ++i) {
    const iovec& part = parts_[message.first + i];
    std::span<const std::uint8_t> rest(static_cast<const std::uint8_t*>(part.iov_base),
                                       part.iov_len);
    while (!rest.empty()) {
      const auto one = rest.first(std::min(message.segment, rest.size()));
      if (!send_one(one)) ++lost_;
      rest = rest.subspan(one.size());
    }
  }
}

bool DatagramWriter::send_one(std::span<const std::uint8_t> bytes) {
  alignas(cmsghdr) std::array<std::uint8_t, control_bytes> control;
  iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  msghdr header{};
  if (route_.to) {
    header.msg_name = const_cast<sockaddr*>(route_.to->get());
    header.msg_namelen = route_.to->length;
  }
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = write_control(control.data(), 0);
  if (sendmsg(route_.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    error_number_ = errno;
    return false;
  }
  bytes_ += bytes.size();
  return true;
}

void DatagramWriter::fill(mmsghdr& message, const Message& of) {
  msghdr& header = message.msg_hdr;
  header.msg_name = route_.to ? const_cast<sockaddr*>(route_.to->get()) : nullptr;
  header.msg_namelen = route_.to ? route_.to->length : 0;
  header.msg_iov = &parts_[of.first];
  header.msg_iovlen = of.count;
  header.msg_controllen = write_control(static_cast<std::uint8_t*>(header.msg_control), of.segment);
  header.msg_flags = 0;
}

std::size_t DatagramWriter::write_control(std::uint8_t* to, std::size_t segment) const {
  std::uint8_t* end = to;
  if (route_.from_v4) end = put_control(end, IPPROTO_IP, IP_PKTINFO, *route_.from_v4);
  if (route_.from_v6) end = put_control(end, IPPROTO_IPV6, IPV6_PKTINFO, *route_.from_v6);
  if (segment != 0)
    end = put_control(end, SOL_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(segment));
  return static_cast<std::size_t>(end - to);
}

std::size_t DatagramWriter::datagrams(const Message& message) {
  return message.segment == 0 ? 1 : (message.bytes + message.segment - 1) / message.segment;
}

}  // namespace vf
