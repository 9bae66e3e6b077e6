// The fuzz targets over generated inputs: random bytes, and known frames with random damage. SLUICE_FUZZ_ROUNDS sets
// how many.
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "stack/base/rng.h"
#include "tests/fuzz/targets.h"
#include "tests/unit/known_frames.h"

namespace sluice::test {
namespace {

using Octets = std::vector<std::uint8_t>;

std::vector<Octets> seeds() {
  std::vector<Octets> out;
  for (const KnownFrame& f : kKnownFrames) {
    Octets frame;
    for (const char* p = f.bytes; p[0] != '\0' && p[1] != '\0'; p += 2) {
      frame.push_back(static_cast<std::uint8_t>(std::stoi(std::string(p, 2), nullptr, 16)));
    }
    out.push_back(frame);
    out.emplace_back(frame.begin() + 14, frame.end());  // from the IP header on
    out.emplace_back(frame.begin() + 34, frame.end());  // from the transport header on
  }
  const std::string text = "192.0.2.1:80 [2001:db8::1]:443 10.0.0.0/8";
  out.emplace_back(text.begin(), text.end());
  return out;
}

int rounds() {
  const char* wanted = std::getenv("SLUICE_FUZZ_ROUNDS");
  return wanted != nullptr ? std::atoi(wanted) : 3000;
}

class Fuzz : public testing::TestWithParam<FuzzTarget> {};

TEST_P(Fuzz, GeneratedInputs) {
  Rng rng(Rng::seed_from(42));
  const std::vector<Octets> known = seeds();
  for (int i = 0; i < rounds(); ++i) {
    Octets input;
    if (i % 3 == 0) {
      input.resize(rng.below(200));
      rng.fill(input);
    } else {
      input = known[rng.below(static_cast<std::uint32_t>(known.size()))];
      for (std::uint32_t n = rng.below(6); n > 0 && !input.empty(); --n) {
        input[rng.below(static_cast<std::uint32_t>(input.size()))] = static_cast<std::uint8_t>(rng.next_u32());
      }
      if (rng.below(4) == 0) input.resize(rng.below(static_cast<std::uint32_t>(input.size()) + 1));
    }
    input.shrink_to_fit();
    GetParam().run(input);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Fuzz, testing::ValuesIn(kFuzzTargets),
                         [](const auto& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace sluice::test
