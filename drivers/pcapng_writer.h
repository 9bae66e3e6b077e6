// Writes a capture file: pcapng (draft-ietf-opsawg-pcapng), one section with one interface, time stamps of nanoseconds,
// the direction of each packet and comments on it. Wireshark shows the comments beside the packet.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "drivers/capture_writer.h"

namespace sluice::drivers {

class PcapngWriter final : public CaptureWriter {
 public:
  static Result<std::unique_ptr<PcapngWriter>, Failure> create(const std::string& path, link::Medium medium,
                                                               link::Fcs fcs);
  ~PcapngWriter() override;
  PcapngWriter(const PcapngWriter&) = delete;
  PcapngWriter& operator=(const PcapngWriter&) = delete;
  void write(const CaptureRecord& record) override;
  void flush() override;
  [[nodiscard]] bool keeps_comments() const override { return true; }

 private:
  explicit PcapngWriter(std::FILE* file) : file_(file) {}
  void write_section();
  void write_interface(link::Medium medium, link::Fcs fcs);
  void begin(std::uint32_t type);
  void put(Bytes bytes);  // and what fills the last word
  void put_u32(std::uint32_t value);
  void put_option(std::uint16_t code, Bytes value);
  void end();

  std::FILE* file_;
  std::vector<std::uint8_t> block_;  // the one being made
};

}  // namespace sluice::drivers
