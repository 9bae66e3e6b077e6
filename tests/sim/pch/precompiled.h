// What nearly every file of this folder includes, compiled once (option b_pch).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <map>
#include <sstream>

#include "sluice/simulation.hpp"
#include "tests/support/world.h"
