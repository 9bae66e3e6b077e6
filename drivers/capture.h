// A decorator that writes every frame of the device it wraps, in both directions, to a capture file.
#pragma once

#include <memory>
#include <vector>

#include "drivers/pcap_writer.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

// A checksum that was left to the device is completed in the file, so that whoever reads it can check. Segments that
// the device will cut, or has joined, are one record, as tcpdump shows them too.
class Capture final : public link::NetDevice {
 public:
  // `clock_offset` is added to the stack's time, so that the file shows the time of day.
  Capture(link::NetDevice& inner, std::unique_ptr<PcapWriter> writer, Duration clock_offset)
      : inner_(inner), writer_(std::move(writer)), offset_(clock_offset) {}

  [[nodiscard]] const link::Capabilities& capabilities() const override { return inner_.capabilities(); }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] int poll_handle() const override { return inner_.poll_handle(); }
  [[nodiscard]] Instant next_deadline() const override { return inner_.next_deadline(); }
  [[nodiscard]] bool finished() const override { return inner_.finished(); }

 private:
  void record(Instant now, const buf::TxFrame& frame, std::size_t wire_length);

  link::NetDevice& inner_;
  std::unique_ptr<PcapWriter> writer_;
  Duration offset_;
  std::vector<std::uint8_t> whole_;  // a frame whose checksum is being completed
};

}  // namespace sluice::drivers
