// Counts what operator new and delete do in this executable: the heap as the stack sees it.
#pragma once

#include <cstddef>

namespace sluice::scale_test {

struct HeapCount {
  std::size_t allocations = 0;  // since the start of the program
  std::size_t live_bytes = 0;   // of the blocks not freed, each with what the allocator adds to it
};
HeapCount heap_count();

}  // namespace sluice::scale_test
