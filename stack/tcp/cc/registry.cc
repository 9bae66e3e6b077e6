#include "stack/tcp/cc/registry.h"

#include <array>
#include <new>

#include "stack/tcp/cc/newreno.h"

namespace sluice::tcp::cc {
namespace {

template <typename T>
Controller* make_in(void* storage) {
  static_assert(sizeof(T) <= kStorage && alignof(T) <= 16);
  return new (storage) T;
}

struct Row {
  const char* name;
  Controller* (*make)(void* storage);
};

constexpr std::array kControllers = {
    Row{"newreno", make_in<NewReno>},
};

}  // namespace

std::uint8_t index_of(std::string_view name) {
  for (std::size_t i = 0; i < kControllers.size(); ++i) {
    if (name == kControllers[i].name) return static_cast<std::uint8_t>(i + 1);
  }
  return 0;
}

const char* name_at(std::uint8_t index) {
  return index >= 1 && index <= kControllers.size() ? kControllers[index - 1u].name : nullptr;
}

std::uint8_t count() {
  return static_cast<std::uint8_t>(kControllers.size());
}

Controller* make(std::uint8_t index, void* storage) {
  const bool known = index >= 1 && index <= kControllers.size();
  return kControllers[known ? index - 1u : 0u].make(storage);
}

}  // namespace sluice::tcp::cc
