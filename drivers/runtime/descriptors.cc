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
};

Table& table() {
  static auto* t = new Table;  // never destroyed: descriptors may be used while the program ends
  return *t;
}

thread_local Runtime::Impl* chosen = nullptr;

}  // namespace

Runtime::Impl* current_runtime() { return chosen != nullptr ? chosen : table().first.load(); }

void announce_runtime(Runtime::Impl* impl) {
  Runtime::Impl* none = nullptr;
  table().first.compare_exchange_strong(none, impl);
}

void forget_runtime(Runtime::Impl* impl) {
  Runtime::Impl* expected = impl;
  table().first.compare_exchange_strong(expected, nullptr);
  if (chosen == impl) chosen = nullptr;
}

int allocate_descriptor(Runtime::Impl* runtime, socket::Handle handle, bool nonblocking) {
  Table& t = table();
  const std::lock_guard guard(t.mutex);
  for (std::size_t i = t.lowest_free; i < kChunk * kChunks; ++i) {
    if (t.at(i) == nullptr) t.chunks[i / kChunk].store(new std::array<Descriptor, kChunk>, std::memory_order_release);
    Descriptor& d = *t.at(i);
    if (d.runtime != nullptr) continue;
    const std::uint32_t generation = d.generation;
    d = Descriptor();
    d.generation = generation;
    d.runtime = runtime;
    d.handle = handle;
    d.nonblocking = nonblocking;
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
  Table& t = table();
  const std::lock_guard guard(t.mutex);
  const auto index = static_cast<std::size_t>(fd - SL_FD_BASE);
  Descriptor* d = t.at(index);
  d->runtime = nullptr;
  ++d->generation;
  t.lowest_free = std::min(t.lowest_free, index);
}

}  // namespace sluice

void sl_use(sl_runtime* runtime) {
  sluice::chosen = static_cast<sluice::Runtime::Impl*>(static_cast<void*>(runtime));
}
