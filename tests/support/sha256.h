// SHA-256 (FIPS 180-4), to compare streams with their known digests.
#pragma once

#include <string>

#include "stack/base/types.h"

namespace sluice::test {

std::string sha256_hex(Bytes bytes);

}  // namespace sluice::test
