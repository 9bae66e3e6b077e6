// A decorator that writes every frame of the device it wraps, in both directions, to a capture file. Where the format
// keeps comments, the stack's decisions stand beside the frames.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "drivers/capture_writer.h"
#include "stack/base/event.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

// A checksum that was left to the device is completed in the file, so that whoever reads it can check. Segments that
// the device will cut, or has joined, are one record, as tcpdump shows them too.
//
// With comments: why a received frame was dropped stands at that frame. What TCP decided stands at the next frame that
// is sent; where none was sent before the next frames were asked for, at the last one received before it. So received
// frames wait for the stack to have dealt with them, but never longer than until it asks for more.
class Capture final : public link::NetDevice, public EventSink {
 public:
  // `clock_offset` is added to the stack's time, so that the file shows the time of day.
  Capture(link::NetDevice& inner, std::unique_ptr<CaptureWriter> writer, Duration clock_offset)
      : inner_(inner), writer_(std::move(writer)), offset_(clock_offset) {}
  ~Capture() override;
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  // The sink that the stack is to have: this one if the file keeps comments, which passes all on to `next`, else
  // `next`. May be null, as `next` may.
  [[nodiscard]] EventSink* events(EventSink* next);

  [[nodiscard]] const link::Capabilities& capabilities() const override { return inner_.capabilities(); }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] int poll_handle() const override { return inner_.poll_handle(); }
  [[nodiscard]] Instant next_deadline() const override;
  [[nodiscard]] bool finished() const override { return inner_.finished(); }
  void on_event(const Event& event) override;

 private:
  // A frame that may still get comments.
  struct Held {
    Instant at;
    std::vector<std::uint8_t> bytes;
    std::uint32_t wire_length = 0;
    Direction direction = Direction::kUnknown;
    const std::uint8_t* where = nullptr;  // a received frame in the stack's memory, until it was dropped
    std::vector<std::string> comments;
  };

  void record(Instant now, const buf::TxFrame& frame, std::size_t wire_length, Direction direction);
  void settle();
  [[nodiscard]] bool is_news(const Event& event);
  [[nodiscard]] Held* received_at(const std::uint8_t* place);

  link::NetDevice& inner_;
  std::unique_ptr<CaptureWriter> writer_;
  Duration offset_;
  std::vector<std::uint8_t> whole_;  // a frame whose checksum is being completed
  EventSink* next_ = nullptr;
  std::vector<Held> held_;  // from the first frame received in this round on
  std::size_t held_bytes_ = 0;
  std::vector<std::string> notes_;  // for the next frame that is sent
  struct Window {
    std::int64_t cwnd = -1, ssthresh = -1;
  };
  std::unordered_map<std::uint64_t, Window> windows_;  // as last told, by connection
};

}  // namespace sluice::drivers
