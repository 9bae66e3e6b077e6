// What nearly every file of this folder includes, compiled once (option b_pch).
#include <algorithm>

#include "drivers/runtime/impl.h"
#include "sluice/socket.h"
#include "sluice/socket.hpp"
