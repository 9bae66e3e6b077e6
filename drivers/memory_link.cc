#include "drivers/memory_link.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>

namespace sluice::drivers {

namespace {

link::Capabilities ethernet_with_fcs(std::uint32_t mtu) {
  link::Capabilities c;
  c.fcs = link::Fcs::kPresent;
  c.mtu = mtu;
  return c;
}

FrameBytes copy_of(const buf::TxFrame& frame) {
  FrameBytes bytes(frame.size());
  frame.copy_to(bytes);
  return bytes;
}

// False, and nothing done, when the pool has no buffer.
bool to_rx(const FrameBytes& bytes, buf::Pool& pool, buf::RxFrame& out) {
  buf::Buffer buffer = pool.copy_of(bytes);
  if (!buffer) return false;
  out = {std::move(buffer), {}, static_cast<std::uint32_t>(bytes.size())};
  return true;
}

std::size_t take(std::deque<FrameBytes>& queue, buf::Pool& pool, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  while (n < out.size() && !queue.empty() && to_rx(queue.front(), pool, out[n])) {
    queue.pop_front();
    ++n;
  }
  return n;
}

}  // namespace

MemoryLink::MemoryLink(std::uint32_t mtu, std::size_t queue_frames)
    : capabilities_(ethernet_with_fcs(mtu)), queue_frames_(queue_frames) {}

MemoryLink::Port& MemoryLink::add_port() {
  ports_.push_back(std::unique_ptr<Port>(new Port(*this)));
  return *ports_.back();
}

std::size_t MemoryLink::Port::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  return take(queue_, pool, out);
}

std::size_t MemoryLink::Port::tx(Instant, std::span<const buf::TxFrame> frames) {
  for (const buf::TxFrame& frame : frames) {
    const FrameBytes bytes = copy_of(frame);
    for (const auto& port : link_->ports_) {
      if (port.get() != this && port->queue_.size() < link_->queue_frames_) port->queue_.push_back(bytes);
    }
  }
  return frames.size();
}

class SharedMemoryLink::End final : public link::NetDevice {
 public:
  End(std::uint32_t mtu, std::size_t queue_frames)
      : capabilities_(ethernet_with_fcs(mtu)),
        queue_frames_(queue_frames),
        event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~End() override { ::close(event_); }
  void join(End& other) { other_ = &other; }

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] int poll_handle() const override { return event_; }

  std::size_t rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) override {
    const std::lock_guard guard(mutex_);
    const std::size_t n = take(queue_, pool, out);
    if (queue_.empty()) {
      std::uint64_t count = 0;
      (void)!::read(event_, &count, sizeof count);
    }
    return n;
  }

  std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override {
    const std::lock_guard guard(other_->mutex_);
    std::size_t n = 0;
    while (n < frames.size() && other_->queue_.size() < queue_frames_) other_->queue_.push_back(copy_of(frames[n++]));
    const std::uint64_t one = 1;
    (void)!::write(other_->event_, &one, sizeof one);
    return n;
  }

 private:
  link::Capabilities capabilities_;
  std::size_t queue_frames_;
  End* other_ = nullptr;
  std::mutex mutex_;
  std::deque<FrameBytes> queue_;
  int event_;
};

SharedMemoryLink::SharedMemoryLink(std::uint32_t mtu, std::size_t queue_frames) {
  for (auto& end : ends_) end = std::make_unique<End>(mtu, queue_frames);
  ends_[0]->join(*ends_[1]);
  ends_[1]->join(*ends_[0]);
}
SharedMemoryLink::~SharedMemoryLink() = default;
link::NetDevice& SharedMemoryLink::end(std::size_t which) {
  return *ends_[which];
}

}  // namespace sluice::drivers
