// The process's table of sluice descriptors. Looking one up takes no lock: entries never move.
#include <array>
#include <atomic>
#include <mutex>

#include "drivers/runtime/impl.h"

namespace sluice {

namespace {

constexpr std::size_t kChunk = 1024;
constexpr std::size_t kChunks = 1024;  // a million descriptors

struct Table {
  std::mutex mutex;
  std::array<std::atomic<std::array<Descriptor, kChunk>*>, kChunks> chunks{};
  std::size_t lowest_free = 0;
  std::atomic<Runtime::Impl*> first{nullptr};

  Descriptor* at(std::size_t index) {
    auto* chunk = index < kChunk * kChunks ? chunks[index / kChunk].load(std::memory_order_acquire) : nullptr;
    return chunk != nullptr ? &(*chunk)[index % kChunk] : nullptr;
  }
  void release(std::size_t index) {
    const std::lock_guard guard(mutex);
    Descriptor* d = at(index);
    d->runtime = nullptr;
    ++d->generation;
    lowest_free = std::min(lowest_free, index);
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

int allocate_descriptor(Runtime::Impl& runtime, socket::Handle handle, int type) {
  Table& t = table();
  const std::lock_guard guard(t.mutex);
  for (std::size_t i = t.lowest_free; i < kChunk * kChunks; ++i) {
    if (t.at(i) == nullptr) t.chunks[i / kChunk].store(new std::array<Descriptor, kChunk>, std::memory_order_release);
    Descriptor& d = *t.at(i);
    if (d.runtime != nullptr) continue;
    d.handle = handle;
    d.settings = {};
    d.settings.nonblocking = (type & SOCK_NONBLOCK) != 0;
    d.runtime = &runtime;
    t.lowest_free = i + 1;
    return SL_FD_BASE + static_cast<int>(i);
  }
  return -1;
}

Descriptor* find_descriptor(int fd) {
  if (fd < SL_FD_BASE) return nullptr;
  Descriptor* d = table().at(static_cast<std::size_t>(fd - SL_FD_BASE));
  return d != nullptr && d->runtime != nullptr ? d : nullptr;
}

void release_descriptor(int fd) {
  table().release(static_cast<std::size_t>(fd - SL_FD_BASE));
}

void release_descriptors_of(const Runtime::Impl& runtime) {
  Table& t = table();
  for (std::size_t i = 0; t.at(i) != nullptr; ++i) {
    if (t.at(i)->runtime == &runtime) t.release(i);
  }
}

Call::Call(int fd) : entry_(find_descriptor(fd)), runtime_(entry_ != nullptr ? entry_->runtime.load() : nullptr) {
  if (runtime_ == nullptr) return;
  guard_.emplace(*runtime_);
  generation_ = entry_->generation;
  if (entry_->runtime != runtime_) guard_.reset();  // closed before the lock was ours
}

}  // namespace sluice

void sl_use(sl_runtime* runtime) {
  sluice::chosen = static_cast<sluice::Runtime::Impl*>(static_cast<void*>(runtime));
}
