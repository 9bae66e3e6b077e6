// The process's table of sluice descriptors. Looking one up takes no lock: entries never move.
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <mutex>
#include <optional>
#include <utility>

#include "drivers/runtime/epoll_set.h"
#include "drivers/runtime/impl.h"

namespace sluice {

namespace {

constexpr std::size_t kChunk = 1024;
constexpr std::size_t kChunks = 1024;  // a million descriptors

// Which of so many numbers are free. At first all are.
template <std::size_t kBits>
class FreeSet {
 public:
  FreeSet() { words_.fill(~std::uint64_t{0}); }
  [[nodiscard]] std::size_t lowest() const {  // kBits when none is
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (words_[i] != 0) return i * 64 + static_cast<std::size_t>(std::countr_zero(words_[i]));
    }
    return kBits;
  }
  void take(std::size_t n) { words_[n / 64] &= ~(std::uint64_t{1} << n % 64); }
  void give_back(std::size_t n) { words_[n / 64] |= std::uint64_t{1} << n % 64; }

 private:
  std::array<std::uint64_t, kBits / 64> words_;
};

struct Chunk {
  std::array<Descriptor, kChunk> entries;
  FreeSet<kChunk> free;
};

struct Table {
  std::mutex mutex;
  std::array<std::atomic<Chunk*>, kChunks> chunks{};
  FreeSet<kChunks> not_full;  // the chunks that have a free number
  std::atomic<Runtime::Impl*> first{nullptr};

  Descriptor* at(std::size_t index) {
    Chunk* chunk = index < kChunk * kChunks ? chunks[index / kChunk].load(std::memory_order_acquire) : nullptr;
    return chunk != nullptr ? &chunk->entries[index % kChunk] : nullptr;
  }
  // The lowest free number, as POSIX has it; nothing when all are in use. With the mutex held.
  std::optional<std::size_t> take_lowest() {
    const std::size_t c = not_full.lowest();
    if (c == kChunks) return std::nullopt;
    if (chunks[c] == nullptr) chunks[c].store(new Chunk, std::memory_order_release);
    FreeSet<kChunk>& free = chunks[c].load()->free;
    const std::size_t n = free.lowest();
    free.take(n);
    if (free.lowest() == kChunk) not_full.take(c);
    return c * kChunk + n;
  }
  int open(Runtime::Impl& runtime, socket::Handle handle, EpollSet* epoll) {
    const std::lock_guard guard(mutex);
    const auto index = take_lowest();
    if (!index) return -1;
    Descriptor& d = *at(*index);
    d.handle = handle;
    d.epoll = epoll;
    d.runtime = &runtime;
    return SL_FD_BASE + static_cast<int>(*index);
  }
  void release(std::size_t index) {
    const std::lock_guard guard(mutex);
    Chunk& chunk = *chunks[index / kChunk].load();
    Descriptor& d = chunk.entries[index % kChunk];
    d.runtime = nullptr;
    d.epoll = nullptr;
    ++d.generation;
    chunk.free.give_back(index % kChunk);
    not_full.give_back(index / kChunk);
  }
};

Table& table() {
  static auto* t = new Table;  // never destroyed: descriptors may be used while the program ends
  return *t;
}

thread_local Runtime::Impl* chosen = nullptr;

}  // namespace

Runtime::Impl* current_runtime() {
  return chosen != nullptr ? chosen : table().first.load();
}

void announce_runtime(Runtime::Impl* impl) {
  Runtime::Impl* none = nullptr;
  table().first.compare_exchange_strong(none, impl);
}

void forget_runtime(Runtime::Impl* impl) {
  Runtime::Impl* expected = impl;
  table().first.compare_exchange_strong(expected, nullptr);
  if (chosen == impl) chosen = nullptr;
}

int allocate_descriptor(Runtime::Impl& runtime, socket::Handle handle) {
  const int fd = table().open(runtime, handle, nullptr);
  if (fd >= 0) ++runtime.side(handle).descriptors;
  return fd;
}

int allocate_descriptor(Runtime::Impl& runtime, EpollSet& epoll) {
  const int fd = table().open(runtime, -1, &epoll);
  if (fd >= 0) ++epoll.descriptors;
  return fd;
}

Descriptor* find_descriptor(int fd) {
  if (fd < SL_FD_BASE) return nullptr;
  Descriptor* d = table().at(static_cast<std::size_t>(fd - SL_FD_BASE));
  return d != nullptr && d->runtime != nullptr ? d : nullptr;
}

Left release_descriptor(int fd) {
  const Descriptor& d = *find_descriptor(fd);
  EpollSet* const epoll = d.epoll;
  std::uint32_t& descriptors = epoll != nullptr ? epoll->descriptors : d.runtime.load()->side(d.handle).descriptors;
  table().release(static_cast<std::size_t>(fd - SL_FD_BASE));
  if (--descriptors > 0) return Left::kSome;
  delete epoll;
  return Left::kNone;
}

void release_descriptors_of(const Runtime::Impl& runtime) {
  Table& t = table();
  for (std::size_t i = 0; t.at(i) != nullptr; ++i) {
    if (t.at(i)->runtime == &runtime) (void)release_descriptor(SL_FD_BASE + static_cast<int>(i));
  }
}

Call::Call(int fd, On on)
    : entry_(find_descriptor(fd)), runtime_(entry_ != nullptr ? entry_->runtime.load() : nullptr) {
  if (runtime_ == nullptr) return;
  guard_.emplace(*runtime_);
  generation_ = entry_->generation;
  if (entry_->runtime != runtime_) {  // closed before the lock was ours
    guard_.reset();
    return;
  }
  const bool wrong_kind = on == On::kSocket && entry_->epoll != nullptr;
  refusal_ = wrong_kind ? Errno::kNotSocket : Errno::kOk;
}

SocketSettings& Call::settings() const {
  return runtime_->side(entry_->handle).settings;
}

}  // namespace sluice

int sl_dup(int fd) {
  if (fd < SL_FD_BASE) return ::dup(fd);
  const sluice::Call call(fd, sluice::Call::On::kAny);
  if (!call) return call.refuse();
  const int copy = call.epoll() != nullptr ? sluice::allocate_descriptor(call.runtime(), *call.epoll())
                                           : sluice::allocate_descriptor(call.runtime(), call.handle());
  return copy >= 0 ? copy : sluice::set_errno(sluice::Errno::kTooManyFiles);
}

void sl_use(sl_runtime* runtime) {
  sluice::chosen = static_cast<sluice::Runtime::Impl*>(static_cast<void*>(runtime));
}
