// What nearly every test with two runtimes includes, compiled once (option b_pch).
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "tests/runtime/two_runtimes.h"
