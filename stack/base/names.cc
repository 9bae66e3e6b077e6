// Names of drop reasons and counters, from the lists that declare them.
#include "stack/base/counters.h"
#include "stack/base/drop.h"

namespace sluice {
namespace {

#define X(enumerator, name, meaning) name,
constexpr std::array kDropNames = {SLUICE_DROP_REASONS(X)};
#undef X
#define X(enumerator, name, meaning) meaning,
constexpr std::array kDropMeanings = {SLUICE_DROP_REASONS(X)};
#undef X
#define X(enumerator, name) name,
constexpr std::array kCounterNames = {SLUICE_COUNTERS(X)};
#undef X

}  // namespace

const char* name_of(Drop reason) {
  return kDropNames[static_cast<std::size_t>(reason)];
}
const char* meaning_of(Drop reason) {
  return kDropMeanings[static_cast<std::size_t>(reason)];
}
const char* name_of(Counter counter) {
  return kCounterNames[static_cast<std::size_t>(counter)];
}

}  // namespace sluice
