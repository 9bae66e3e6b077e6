// What the two ends of a throughput test say to each other. The protocol is that of iperf3, so that either end may be
// an iperf3; it has no RFC.
//
// The client opens a TCP connection, the control connection, and sends a cookie. From then on the server leads by
// states of one byte:
//   PARAM_EXCHANGE      the client sends its parameters, a message
//   CREATE_STREAMS      the client opens the streams, one after the other. TCP: a connection that begins with the
//                       cookie. UDP: a datagram with a greeting, which the server answers
//   TEST_START, TEST_RUNNING
//                       both ends send; the client ends this with its TEST_END
//   EXCHANGE_RESULTS    the client sends what it has counted, a message, then the server does
//   DISPLAY_RESULTS     the client says IPERF_DONE and closes
// A message is a length of four bytes, most significant first, and so many bytes of JSON. All functions here take what
// a peer has sent for hostile.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "stack/base/result.h"
#include "stack/base/types.h"

namespace sluice::apps::perf {

enum class State : std::int8_t {
  kTestStart = 1,
  kTestRunning = 2,
  kTestEnd = 4,
  kParameterExchange = 9,
  kCreateStreams = 10,
  kServerTerminate = 11,
  kClientTerminate = 12,
  kExchangeResults = 13,
  kDisplayResults = 14,
  kDone = 16,
  kAccessDenied = -1,  // a test is running already
  kServerError = -2,   // followed by two 32-bit numbers: the reason, as iperf3 counts them, and an errno
};

inline constexpr std::size_t kCookieSize = 37;  // 36 characters and a NUL
inline constexpr std::size_t kMaxMessage = 1 << 20;
inline constexpr std::uint32_t kMaxStreams = 128;
inline constexpr std::uint32_t kMaxBlock = 1 << 20;  // bytes a call of a TCP stream
inline constexpr std::uint32_t kMaxDatagram = 65507;
inline constexpr double kMaxSeconds = 86400;
inline constexpr std::uint64_t kMaxRate = 1'000'000'000'000;  // bit/s

std::string make_cookie(std::uint64_t random_high, std::uint64_t random_low);

enum class Protocol : std::uint8_t { kTcp, kUdp };
enum class Direction : std::uint8_t { kUpload, kDownload, kBoth };  // as seen from the client

struct Parameters {
  Protocol protocol = Protocol::kTcp;
  Direction direction = Direction::kUpload;
  double seconds = 10;
  double omit = 0;                   // s at the beginning that do not count
  std::uint64_t bytes = 0;           // instead of a time; 0: by time
  std::uint64_t blocks = 0;          // the same in blocks of `length`
  std::uint32_t parallel = 1;        // streams a direction
  std::uint32_t length = 128 << 10;  // bytes a call or datagram
  std::uint64_t rate = 0;            // bit/s of each stream; 0: no limit
  std::uint32_t max_segment = 0;     // bytes; 0: what the path allows
  bool no_delay = false;
  bool wide_counters = false;  // packet numbers of 64 bits
};
std::string to_json(const Parameters& parameters);

// Why parameters are refused: iperf3's number for it, and words.
struct Refusal {
  std::int32_t reason = 0;
  std::string what;
};
Result<Parameters, Refusal> parse_parameters(std::string_view json);

struct StreamResult {
  int id = 0;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> retransmits;  // not known by a receiver
  double jitter = 0;                         // s
  std::uint64_t packets = 0;                 // sent, or the highest number received
  std::uint64_t lost = 0;
  double start = 0, end = 0;  // s
};
struct Usage {
  double total = 0, user = 0, system = 0;  // of one processor, percent
};
struct Results {
  Usage cpu;
  std::string congestion;  // empty: not TCP
  std::vector<StreamResult> streams;
};
std::string to_json(const Results& results);
// Nothing when it is no JSON, lacks a number or has one out of range.
std::optional<Results> parse_results(std::string_view json);

// The number of stream `index` (from 0): 1, 3, 4, 5 ... (iperf3 leaves out the 2).
int stream_id(std::size_t index);

// The greeting of a UDP stream and its answer: 32-bit numbers, which iperf3 sends in the byte order of its machine.
inline constexpr std::size_t kGreetingSize = 4;
using Greeting = std::array<std::uint8_t, kGreetingSize>;
Greeting greeting();
bool is_greeting(Bytes datagram);
Greeting answer_to_greeting();
bool is_answer_to_greeting(Bytes datagram);

// What a datagram begins with: when it was sent (any clock), and its number from 1 on.
struct DatagramHeader {
  std::uint32_t seconds = 0;
  std::uint32_t microseconds = 0;
  std::uint64_t number = 0;
};
enum class CounterWidth : std::uint8_t { k32, k64 };
constexpr std::size_t header_size(CounterWidth width) {
  return width == CounterWidth::k64 ? 16 : 12;
}
void store(const DatagramHeader& header, CounterWidth width, std::uint8_t* out);
std::optional<DatagramHeader> parse_datagram(Bytes datagram, CounterWidth width);

// Loss and jitter of a stream of datagrams. Jitter is that of RFC 3550 §6.4.1; a number lower than one seen before is
// out of order, and makes up for a loss.
class DatagramCount {
 public:
  void take(const DatagramHeader& header, double arrival);  // arrival: s, any clock
  [[nodiscard]] std::uint64_t highest() const { return highest_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  [[nodiscard]] std::uint64_t out_of_order() const { return out_of_order_; }
  [[nodiscard]] double jitter() const { return jitter_; }  // s

 private:
  std::uint64_t highest_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t out_of_order_ = 0;
  double jitter_ = 0;
  std::optional<double> transit_;
};

}  // namespace sluice::apps::perf
