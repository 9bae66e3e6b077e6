// A capture file that is being written, in one of the formats there are.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "drivers/failure.h"
#include "stack/base/time.h"
#include "stack/base/types.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

enum class Direction : std::uint8_t { kUnknown, kIn, kOut };

// `wire_length` may be more than the bytes of the frame that are there.
struct CaptureRecord {
  Instant at{};
  Bytes frame{};
  std::uint32_t wire_length = 0;
  Direction direction = Direction::kUnknown;
  std::span<const std::string> comments{};
};

class CaptureWriter {
 public:
  virtual ~CaptureWriter() = default;
  virtual void write(const CaptureRecord& record) = 0;
  virtual void flush() = 0;
  // Whether the format keeps direction and comments; they are lost otherwise.
  [[nodiscard]] virtual bool keeps_comments() const = 0;
};

// pcapng when the name ends with ".pcapng", else classic pcap. `fcs`: frames end with their FCS, which the file says.
Result<std::unique_ptr<CaptureWriter>, Failure> create_capture(const std::string& path, link::Medium medium,
                                                               link::Fcs fcs);

}  // namespace sluice::drivers
