// What `sluice perf` prints, at either end: the lines, or with --json the object, that people and scripts know from
// iperf3.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/perf_messages.h"
#include "apps/perf_streams.h"

namespace sluice::apps::perf {

enum class Side : std::uint8_t { kClient, kServer };
enum class Format : std::uint8_t { kText, kJson };

// "1.07 G": three digits and a prefix, of 1024 (bytes) or 1000 (bits).
std::string with_prefix(double value, double base);

// One line: a stream, or the sum of several, in an interval or the whole test.
struct Line {
  int id = 0;                 // 0: a sum
  Role role = Role::kSender;  // of this end
  enum class Counted : std::uint8_t { kHere, kBySender, kByReceiver } counted = Counted::kHere;
  double start = 0, end = 0;  // s
  Tally tally;
  std::uint32_t congestion_window = 0;  // bytes
  Duration round_trip;
  double jitter = 0;  // s
};

class Report {
 public:
  Report(Side side, Format format, const Parameters& parameters);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // The other end of the control connection, and the cookie.
  void peer(const wire::Endpoint& peer, const std::string& cookie);
  void begin(const std::vector<Streams::Ends>& streams);
  void interval(const std::vector<Sample>& samples);
  // What this end has counted and what the other one has; `theirs` is nothing when it has not told.
  void end(const Results& ours, const std::optional<Results>& theirs);
  void error(const std::string& what);  // instead of end()

 private:
  struct Json;
  enum class Header : std::uint8_t { kIntervals, kWholeTest };

  void print(const Line& line) const;
  void print_header(Header header) const;
  [[nodiscard]] bool has(Role role) const;
  [[nodiscard]] bool udp() const { return parameters_.protocol == Protocol::kUdp; }
  [[nodiscard]] Line final_line(const Streams::Ends& stream, Line::Counted counted, const Results& sender,
                                const Results& receiver) const;

  Side side_;
  Format format_;
  Parameters parameters_;
  std::vector<Streams::Ends> streams_;
  std::size_t intervals_ = 0;
  std::unique_ptr<Json> json_;
};

}  // namespace sluice::apps::perf
