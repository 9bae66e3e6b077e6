// Fuzz targets: each takes any bytes and must neither crash nor break what it promises. They run under libFuzzer
// (-Dfuzz=true, clang) and, in ordinary builds, over generated inputs (fuzz_test.cc).
#pragma once

#include "stack/base/types.h"

namespace sluice::test {

struct FuzzTarget {
  const char* name;
  void (*run)(Bytes input);
};

void fuzz_parsers(Bytes input);     // every parser; what is parsed and emitted again parses to the same
void fuzz_addresses(Bytes input);   // text forms: what is printed reads back as the same value
void fuzz_frames(Bytes input);      // whole frames into a stack with open sockets
void fuzz_connection(Bytes input);  // stateful: segments near the live numbers, time, socket calls

inline constexpr FuzzTarget kFuzzTargets[] = {
    {"parsers", fuzz_parsers}, {"addresses", fuzz_addresses}, {"frames", fuzz_frames}, {"connection", fuzz_connection}};

}  // namespace sluice::test
