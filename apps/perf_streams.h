// The data streams of a throughput test, at either end: sends, receives and counts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/perf_messages.h"
#include "sluice/runtime.hpp"
#include "sluice/socket.hpp"

namespace sluice::apps::perf {

enum class Role : std::uint8_t { kSender, kReceiver };

// What one stream has done in some time.
struct Tally {
  std::uint64_t bytes = 0;
  std::uint64_t retransmits = 0;  // TCP, sender
  std::uint64_t packets = 0;      // UDP
  std::uint64_t lost = 0;         // UDP, receiver
  std::uint64_t out_of_order = 0;
};
Tally operator-(const Tally& a, const Tally& b);

struct Sample {
  int id = 0;
  Role role = Role::kSender;
  double start = 0, end = 0;  // s
  Tally tally;
  std::uint32_t congestion_window = 0;  // bytes; TCP, sender
  Duration round_trip;                  // the same
  double jitter = 0;                    // s; UDP, receiver
};

class Streams {
 public:
  // `on_failure` is called once, when a stream has failed before stop().
  Streams(Runtime& runtime, EventLoop& loop, const Parameters& parameters,
          std::function<void(const std::string&)> on_failure);
  ~Streams();
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  // A connected socket that does not block.
  void add(net::Socket socket, Role role);
  [[nodiscard]] std::size_t size() const { return streams_.size(); }

  // At most so many bytes are sent, by all streams together; on_enough is called when the peer's TCP has all of them
  // (UDP: when they are sent), or as many have been received.
  void limit(std::uint64_t bytes, std::function<void()> on_enough);
  void start();
  // Ends sending and counting. What has arrived by now is still counted; what comes later is thrown away.
  void stop();
  void close_senders();  // after stop()
  [[nodiscard]] std::uint64_t bytes() const { return sent_ + received_; }

  // Each stream since the last call. `end` is the time of the call, since start() or the end of what is omitted.
  std::vector<Sample> sample();
  [[nodiscard]] std::vector<Sample> totals();
  [[nodiscard]] Results results();

  struct Ends {
    int id;
    Role role;
    wire::Endpoint local, peer;
  };
  [[nodiscard]] std::vector<Ends> ends() const;

 private:
  struct Stream {
    net::Socket socket;
    int id = 0;
    Role role = Role::kSender;
    wire::Endpoint local, peer;
    std::uint64_t bytes = 0;
    std::uint64_t packets = 0;  // datagrams sent
    DatagramCount datagrams;    // received
    tcp::Info info;             // as of the last look
    Tally omitted;              // before counting began
    Tally sampled;              // at the last sample()
  };

  void watch(Stream& stream);
  void send(Stream& stream);
  bool send_block(Stream& stream);
  bool send_datagram(Stream& stream);
  void receive(Stream& stream);
  bool receive_some(Stream& stream);
  void pace();
  void await_delivery();
  void begin_counting();
  void look_at_connections();
  void fail(const std::string& why);
  [[nodiscard]] bool may_send(const Stream& stream) const;
  [[nodiscard]] bool all_delivered() const;
  [[nodiscard]] Tally total(const Stream& stream) const;
  [[nodiscard]] Sample describe(const Stream& stream) const;
  [[nodiscard]] double since_start() const;

  Runtime& runtime_;
  EventLoop& loop_;
  Parameters parameters_;
  std::function<void(const std::string&)> on_failure_;
  std::function<void()> on_enough_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<std::uint8_t> outgoing_, incoming_;
  std::uint64_t limit_ = UINT64_MAX;
  std::uint64_t sent_ = 0, received_ = 0;
  bool running_ = false;
  Instant started_;         // sending
  Instant counting_since_;  // later than started_ when something is omitted
  Instant stopped_;
  Instant sampled_;
  Usage cpu_at_start_;            // s
  EventLoop::TimerId timer_ = 0;  // pace() or await_delivery()
  EventLoop::TimerId omit_timer_ = 0;
};

}  // namespace sluice::apps::perf
