// What nearly every file of this folder includes, compiled once (option b_pch).
#include "tests/tcp/harness.h"
