#include "tests/scale/heap_count.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> live_bytes{0};

constexpr std::size_t kBlockHeader = sizeof(std::size_t);  // of glibc's malloc

void* counted(void* block) {
  if (block == nullptr) return nullptr;
  ++allocations;
  live_bytes += malloc_usable_size(block) + kBlockHeader;
  return block;
}

void* allocate(std::size_t size) {
  void* block = counted(std::malloc(size));
  if (block == nullptr) std::abort();
  return block;
}

void release(void* block) {
  if (block == nullptr) return;
  live_bytes -= malloc_usable_size(block) + kBlockHeader;
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return counted(std::malloc(size));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  void* block = nullptr;
  if (::posix_memalign(&block, static_cast<std::size_t>(alignment), size) != 0) std::abort();
  return counted(block);
}
void operator delete(void* block) noexcept {
  release(block);
}
void operator delete(void* block, std::size_t) noexcept {
  release(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
  release(block);
}
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  release(block);
}

namespace sluice::scale_test {

HeapCount heap_count() {
  return {allocations, live_bytes};
}

}  // namespace sluice::scale_test
