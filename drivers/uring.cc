#include "drivers/uring.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::drivers {

namespace {
constexpr unsigned kPollerIdle = 100;  // ms until the kernel's thread sleeps

std::uint32_t load(std::uint32_t* word) {
  return std::atomic_ref(*word).load(std::memory_order_acquire);
}
void store(std::uint32_t* word, std::uint32_t value) {
  std::atomic_ref(*word).store(value, std::memory_order_release);
}
std::uint32_t* word_at(std::uint8_t* ring, std::uint32_t offset) {
  return reinterpret_cast<std::uint32_t*>(ring + offset);
}
}  // namespace

std::optional<Uring> Uring::open(unsigned entries, Submission submission) {
  io_uring_params p{};
  if (submission == Submission::kByKernel) {
    p.flags = IORING_SETUP_SQPOLL;
    p.sq_thread_idle = kPollerIdle;
  }
  const int fd = static_cast<int>(::syscall(__NR_io_uring_setup, entries, &p));
  if (fd < 0) return std::nullopt;
  Rings rings;
  if (!map(fd, &p, rings)) {
    const int error = errno;
    unmap(rings);
    ::close(fd);
    errno = error;
    return std::nullopt;
  }
  return Uring(fd, submission, rings);
}

Uring::Uring(int fd, Submission submission, const Rings& rings) : fd_(fd), submission_(submission), rings_(rings) {}

Uring::Uring(Uring&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      submission_(other.submission_),
      rings_(std::exchange(other.rings_, {})),
      tail_(other.tail_),
      pending_(other.pending_) {}

Uring& Uring::operator=(Uring&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(submission_, other.submission_);
  std::swap(rings_, other.rings_);
  std::swap(tail_, other.tail_);
  std::swap(pending_, other.pending_);
  return *this;
}

Uring::~Uring() {
  unmap(rings_);
  if (fd_ >= 0) ::close(fd_);
}

bool Uring::map(int fd, const void* parameters, Rings& r) {
  const io_uring_params& p = *static_cast<const io_uring_params*>(parameters);
  const auto map_one = [fd](Mapping& m, std::size_t size, std::uint64_t offset) {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(offset));
    if (at == MAP_FAILED) return false;
    m = {static_cast<std::uint8_t*>(at), size};
    return true;
  };
  if (!map_one(r.submissions, p.sq_off.array + p.sq_entries * sizeof(std::uint32_t), IORING_OFF_SQ_RING) ||
      !map_one(r.completions, p.cq_off.cqes + p.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING) ||
      !map_one(r.entries, p.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES)) {
    return false;
  }
  r.submission_tail = word_at(r.submissions.data, p.sq_off.tail);
  r.submission_flags = word_at(r.submissions.data, p.sq_off.flags);
  r.order = word_at(r.submissions.data, p.sq_off.array);
  r.submission_mask = *word_at(r.submissions.data, p.sq_off.ring_mask);
  r.completion_head = word_at(r.completions.data, p.cq_off.head);
  r.completion_tail = word_at(r.completions.data, p.cq_off.tail);
  r.completion_mask = *word_at(r.completions.data, p.cq_off.ring_mask);
  r.completions_offset = p.cq_off.cqes;
  return true;
}

void Uring::unmap(const Rings& r) {
  for (const Mapping& m : {r.submissions, r.completions, r.entries}) {
    if (m.data != nullptr) ::munmap(m.data, m.size);
  }
}

void Uring::add(Transfer transfer, int fd, std::span<const iovec> pieces) {
  const std::uint32_t slot = tail_ & rings_.submission_mask;
  io_uring_sqe& e = reinterpret_cast<io_uring_sqe*>(rings_.entries.data)[slot];
  std::memset(&e, 0, sizeof e);
  e.opcode = transfer == Transfer::kWrite ? IORING_OP_WRITEV : IORING_OP_READV;
  e.fd = fd;
  e.addr = reinterpret_cast<std::uintptr_t>(pieces.data());
  e.len = static_cast<std::uint32_t>(pieces.size());
  rings_.order[slot] = slot;
  ++tail_;
  ++pending_;
}

unsigned Uring::run() {
  store(rings_.submission_tail, tail_);
  return reap(submit(std::exchange(pending_, 0)));
}

long Uring::enter(unsigned submitted, unsigned awaited, unsigned flags) const {
  long result = 0;
  do {
    result = ::syscall(__NR_io_uring_enter, fd_, submitted, awaited, flags, nullptr, 0);
  } while (result < 0 && errno == EINTR);
  return result;
}

// How many of the batch the kernel took; the others are forgotten.
unsigned Uring::submit(unsigned batch) {
  if (submission_ == Submission::kByKernel) {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // the tail is visible before the flag is looked at
    if ((load(rings_.submission_flags) & IORING_SQ_NEED_WAKEUP) != 0) enter(0, 0, IORING_ENTER_SQ_WAKEUP);
    return batch;
  }
  const long taken = batch == 0 ? 0 : enter(batch, batch, IORING_ENTER_GETEVENTS);
  const unsigned submitted = taken < 0 ? 0 : static_cast<unsigned>(taken);
  tail_ -= batch - submitted;
  store(rings_.submission_tail, tail_);
  return submitted;
}

unsigned Uring::reap(unsigned batch) const {
  unsigned moved = 0;
  std::uint32_t head = *rings_.completion_head;  // only we write it
  const auto* completions = reinterpret_cast<const io_uring_cqe*>(rings_.completions.data + rings_.completions_offset);
  for (unsigned n = 0; n < batch;) {
    if (head == load(rings_.completion_tail)) {  // a signal ended the wait; the kernel's own thread is polled for
      if (submission_ == Submission::kByCall) enter(0, 1, IORING_ENTER_GETEVENTS);
      continue;
    }
    if (completions[head & rings_.completion_mask].res > 0) ++moved;
    ++head;
    ++n;
    store(rings_.completion_head, head);
  }
  return moved;
}

}  // namespace sluice::drivers
