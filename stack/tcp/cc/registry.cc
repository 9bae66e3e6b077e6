#include "stack/tcp/cc/registry.h"

#include <array>

#include "stack/tcp/cc/bbr.h"
#include "stack/tcp/cc/bbr3.h"
#include "stack/tcp/cc/cubic.h"
#include "stack/tcp/cc/dctcp.h"
#include "stack/tcp/cc/newreno.h"

namespace sluice::tcp::cc {
namespace {

template <typename T>
std::unique_ptr<Controller> make_one() {
  return std::make_unique<T>();
}

struct Row {
  const char* name;
  std::unique_ptr<Controller> (*make)();
  bool wants_ecn = false;
};

constexpr std::array kControllers = {
    Row{"newreno", make_one<NewReno>}, Row{"cubic", make_one<Cubic>},       Row{"bbr", make_one<Bbr>},
    Row{"bbr3", make_one<Bbr3>},       Row{"dctcp", make_one<Dctcp>, true},
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

bool wants_ecn(std::uint8_t index) {
  return index >= 1 && index <= kControllers.size() && kControllers[index - 1u].wants_ecn;
}

std::unique_ptr<Controller> make(std::uint8_t index) {
  const bool known = index >= 1 && index <= kControllers.size();
  return kControllers[known ? index - 1u : 0u].make();
}

}  // namespace sluice::tcp::cc
