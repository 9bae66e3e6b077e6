// A decorator that writes every frame of the device it wraps, in both directions, to a capture file.
#pragma once

#include <memory>

#include "drivers/pcap_writer.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

class Capture final : public link::NetDevice {
 public:
  // `clock_offset` is added to the stack's time, so that the file shows the time of day.
  Capture(link::NetDevice& inner, std::unique_ptr<PcapWriter> writer, Duration clock_offset)
      : inner_(inner), writer_(std::move(writer)), offset_(clock_offset) {}

  [[nodiscard]] const link::Capabilities& capabilities() const override { return inner_.capabilities(); }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override {
    const std::size_t n = inner_.rx(now, pool, out);
    for (std::size_t i = 0; i < n; ++i) writer_->write(now + offset_, out[i].buffer.bytes(), out[i].wire_length);
    if (n > 0) writer_->flush();
    return n;
  }
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override {
    const std::size_t n = inner_.tx(now, frames);
    for (std::size_t i = 0; i < n; ++i) writer_->write(now + offset_, frames[i]);
    writer_->flush();
    return n;
  }
  [[nodiscard]] int poll_handle() const override { return inner_.poll_handle(); }
  [[nodiscard]] Instant next_deadline() const override { return inner_.next_deadline(); }
  [[nodiscard]] bool finished() const override { return inner_.finished(); }

 private:
  link::NetDevice& inner_;
  std::unique_ptr<PcapWriter> writer_;
  Duration offset_;
};

}  // namespace sluice::drivers
