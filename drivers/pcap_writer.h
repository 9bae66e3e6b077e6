// Writes a capture file: classic pcap with nanosecond time stamps.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "drivers/capture_writer.h"
#include "stack/buf/frame.h"

namespace sluice::drivers {

class PcapWriter final : public CaptureWriter {
 public:
  static Result<std::unique_ptr<PcapWriter>, Failure> create(const std::string& path, link::Medium medium,
                                                             link::Fcs fcs);
  ~PcapWriter() override;
  PcapWriter(const PcapWriter&) = delete;
  PcapWriter& operator=(const PcapWriter&) = delete;
  void write(const CaptureRecord& record) override;
  void write(Instant at, const buf::TxFrame& frame);
  void flush() override;
  [[nodiscard]] bool keeps_comments() const override { return false; }

 private:
  explicit PcapWriter(std::FILE* file) : file_(file) {}
  void write_record(Instant at, std::size_t stored, std::size_t wire_length);
  std::FILE* file_;
};

}  // namespace sluice::drivers
