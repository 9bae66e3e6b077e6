// Sets of connection options that are kept once.
#include "stack/tcp/shared_options.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

ConnectionOptions with_tos(int tos) {
  ConnectionOptions o;
  o.tos = static_cast<std::uint8_t>(tos);
  return o;
}

TEST(SharedOptions, EqualOnesAreOne) {
  OptionSets sets;
  const SharedOptions a = sets.share(with_tos(1));
  const SharedOptions b = sets.share(with_tos(2));
  EXPECT_EQ(&*a, &*sets.share(with_tos(1)));
  EXPECT_EQ(&*b, &*sets.share(with_tos(2)));
  EXPECT_NE(&*a, &*b);
  EXPECT_EQ(a->tos, 1);
}

TEST(SharedOptions, StayWhenTheyAreForgotten) {
  SharedOptions kept = [] {
    OptionSets sets;
    const SharedOptions first = sets.share(with_tos(1));
    for (int tos = 2; tos < 20; ++tos) (void)sets.share(with_tos(tos));
    const SharedOptions again = sets.share(with_tos(1));
    EXPECT_NE(&*first, &*again);  // not among the last: a second one
    EXPECT_EQ(*first, *again);
    return first;
  }();
  EXPECT_EQ(kept->tos, 1);
  const SharedOptions copy = kept;
  kept = SharedOptions(with_tos(7));
  EXPECT_EQ(copy->tos, 1);
  EXPECT_EQ(kept->tos, 7);
}

}  // namespace
}  // namespace sluice::tcp
