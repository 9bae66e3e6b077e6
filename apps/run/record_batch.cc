#include "apps/run/record_batch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

namespace sluice::apps::run {

namespace {

bool no_more_is_written(int pair) {
  pollfd p{pair, POLLRDHUP, 0};
  return ::poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP)) != 0;
}

}  // namespace

RecordBatch::RecordBatch() : bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(kMost * kStride)) {}

void RecordBatch::clear() {
  count_ = 0;
  ended_ = false;
}

MutableBytes RecordBatch::room() {
  return {bytes_.get() + count_ * kStride, kLargestDatagram};
}

Bytes RecordBatch::operator[](std::size_t index) const {
  return {static_cast<const std::uint8_t*>(pieces_[index].iov_base), pieces_[index].iov_len};
}

// At the end the kernel fills the batch with empty records; an empty datagram looks the same, but is followed by
// nothing, or by a record that is not empty, or the batch is not full.
void RecordBatch::take(int pair) {
  clear();
  for (std::size_t i = 0; i < kMost; ++i) {
    pieces_[i] = {bytes_.get() + i * kStride, kLargestDatagram};
    headers_[i] = {};
    headers_[i].msg_hdr.msg_iov = &pieces_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
  const int n = ::recvmmsg(pair, headers_.data(), kMost, MSG_DONTWAIT, nullptr);
  if (n < 0) {
    ended_ = errno != EAGAIN;
    return;
  }
  count_ = static_cast<std::size_t>(n);
  for (std::size_t i = 0; i < count_; ++i) pieces_[i].iov_len = headers_[i].msg_len;
  if (!full() || pieces_[count_ - 1].iov_len > 0 || !no_more_is_written(pair)) return;
  ended_ = true;
  while (count_ > 0 && pieces_[count_ - 1].iov_len == 0) --count_;
}

void RecordBatch::put(Bytes bytes, int descriptor) {
  pieces_[count_] = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  descriptors_[count_] = descriptor;
  msghdr& header = headers_[count_].msg_hdr;
  header = {};
  header.msg_iov = &pieces_[count_];
  header.msg_iovlen = 1;
  if (descriptor >= 0) {
    header.msg_control = controls_[count_].bytes.data();
    header.msg_controllen = controls_[count_].bytes.size();
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(control), &descriptor, sizeof descriptor);
  }
  ++count_;
}

std::size_t RecordBatch::give(int pair) {
  std::size_t given = 0;
  while (given < count_) {
    const auto left = static_cast<unsigned>(count_ - given);
    const int n = ::sendmmsg(pair, headers_.data() + given, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN ? given : count_;
    given += static_cast<std::size_t>(n);
  }
  return given;
}

}  // namespace sluice::apps::run
