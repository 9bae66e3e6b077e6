// What many commands include and what is slow to compile, compiled once (option b_pch).
#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>

#include "apps/commands.h"
