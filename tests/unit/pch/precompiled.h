// What nearly every file of this folder includes, compiled once (option b_pch).
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <set>

#include "tests/unit/ip_script.h"
