// The entry for libFuzzer; SLUICE_FUZZ_TARGET is the function.
#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sluice::test::SLUICE_FUZZ_TARGET({data, size});
  return 0;
}
