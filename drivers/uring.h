// io_uring without a library: as much as it takes to write or read a descriptor in batches, one system call for a
// batch.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>

struct io_uring_sqe;

namespace sluice::drivers {

class Uring {
 public:
  enum class Submission : std::uint8_t {
    kByCall,    // one io_uring_enter() a batch
    kByKernel,  // a thread of the kernel looks for entries (SQPOLL)
  };
  enum class Transfer : std::uint8_t { kRead, kWrite };

  // Room for batches of up to `entries`, a power of two. Nothing, with errno set, where the kernel or a sandbox forbids
  // io_uring.
  static std::optional<Uring> open(unsigned entries, Submission submission);
  ~Uring();
  Uring(Uring&& other) noexcept;
  Uring& operator=(Uring&& other) noexcept;

  // Adds one transfer to the batch, of at most `entries`. The pieces and their list have to stay until run() returns.
  void add(Transfer transfer, int fd, std::span<const iovec> pieces);

  // Submits the batch and waits for all of it; returns how many transfers moved something. They begin in order, and one
  // that fails does not keep the rest from going. No two threads at a time.
  unsigned run();

 private:
  struct Mapping {
    std::uint8_t* data = nullptr;
    std::size_t size = 0;
  };
  struct Rings {
    Mapping submissions, completions, entries;
    std::uint32_t* submission_tail = nullptr;  // the kernel reads and writes what these point to
    std::uint32_t* submission_flags = nullptr;
    std::uint32_t* order = nullptr;
    std::uint32_t* completion_head = nullptr;
    std::uint32_t* completion_tail = nullptr;
    std::uint32_t submission_mask = 0, completion_mask = 0;
    std::size_t completions_offset = 0;
  };
  Uring(int fd, Submission submission, const Rings& rings);
  static bool map(int fd, const void* parameters, Rings& rings);
  static void unmap(const Rings& rings);
  long enter(unsigned submitted, unsigned awaited, unsigned flags) const;
  unsigned submit(unsigned batch);
  unsigned reap(unsigned batch) const;

  int fd_;
  Submission submission_;
  Rings rings_;
  std::uint32_t tail_ = 0;
  unsigned pending_ = 0;
};

}  // namespace sluice::drivers
