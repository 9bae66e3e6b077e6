// Writes a capture file: classic pcap with nanosecond time stamps.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "drivers/failure.h"
#include "stack/base/time.h"
#include "stack/buf/frame.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

class PcapWriter {
 public:
  // `fcs`: frames end with their FCS, which the file says.
  static Result<std::unique_ptr<PcapWriter>, Failure> create(const std::string& path, link::Medium medium,
                                                             link::Fcs fcs);
  ~PcapWriter();
  void write(Instant at, Bytes frame, std::uint32_t wire_length);
  void write(Instant at, const buf::TxFrame& frame);
  void flush();

 private:
  explicit PcapWriter(std::FILE* file) : file_(file) {}
  void write_record(Instant at, std::size_t stored, std::size_t wire_length);
  std::FILE* file_;
};

}  // namespace sluice::drivers
