// Whole stacks in virtual time: senders and receivers at the two ends of one bottleneck link. A run has no I/O and
// reads no clock: the same description with the same seed gives the same report, to the last digit, on any machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "drivers/failure.h"
#include "drivers/faults.h"
#include "stack/base/result.h"
#include "stack/tcp/tcp.h"

namespace sluice::sim {

enum class Discipline : std::uint8_t {
  kDropTail,
  kCodel,    // RFC 8289
  kFqCodel,  // RFC 8290
};

// The link that all flows share. The rate and the queue count IP packets without any framing.
struct Link {
  std::uint64_t rate = 100'000'000;  // bit/s, each direction
  std::size_t queue = 256 << 10;     // bytes, each direction
  Discipline discipline = Discipline::kDropTail;
  Duration codel_target = 5_ms;
  Duration codel_interval = 100_ms;
  std::size_t ecn_threshold = 0;  // bytes; ECT packets that make the queue longer get CE (as DCTCP wants); 0: none
  std::uint32_t mtu = 1500;
  // On the way behind the queue. The ACKs' side is the way back.
  drivers::Faults data_faults{};
  drivers::Faults ack_faults{};
};

// One connection that sends in one direction. Each has two hosts of its own.
struct Flow {
  tcp::TcpConfig tcp{};         // of both its hosts
  Duration round_trip = 40_ms;  // of the path without any queue
  Duration start{};
  std::uint64_t bytes = 0;  // then the connection is closed; 0: sends until the end of the run
  // Applications that do not always have something to send: so many bytes at a time, a write every so often.
  std::uint64_t write = 0;  // bytes; 0: as fast as TCP takes them
  Duration write_every{};
  // Loses the last segment of each write, or of the whole flow, the first time it is sent.
  bool lose_tails = false;
};

struct Scenario {
  Link link{};
  std::vector<Flow> flows;
  // File of the packets at the first flow's sender: pcap, or when its name ends with .pcapng, with the decisions of the
  // sender's TCP as comments. Empty: none.
  std::string capture;
  Duration time = 30_s;  // the run ends earlier when all flows have sent their bytes
  Duration warm_up{};    // what is counted begins then
  std::uint64_t seed = 1;
  Duration sample_every{};  // 0: no samples
};

// A flow at one moment. The last one is taken when the run ends.
struct Sample {
  Duration at;                    // since the beginning of the run
  std::uint32_t flow = 0;         // index into Scenario::flows
  std::uint32_t cwnd = 0;         // bytes
  std::uint32_t ssthresh = 0;     // bytes; UINT32_MAX: not yet set
  std::uint32_t flight = 0;       // bytes
  Duration srtt;                  // zero: none yet
  double goodput = 0;             // bit/s, since the sample before
  std::uint32_t retransmits = 0;  // so far
  std::size_t queue_bytes = 0;    // of the data's direction, all flows
  std::size_t queue_packets = 0;
};

struct FlowReport {
  std::string congestion;         // name of the controller
  std::uint64_t bytes = 0;        // that the receiving application has read, since the warm-up
  double goodput = 0;             // bit/s of these, from start or warm-up to the last of them or the end of the run
  Duration completed_after{};     // since its start; of a flow with `bytes`; zero: not completed
  std::uint32_t retransmits = 0;  // segments
  std::uint32_t timeouts = 0;     // retransmission timeouts
  Duration srtt{};                // at the end
  std::uint64_t dropped = 0;      // data packets, by the queue
  std::uint64_t marked = 0;       // CE
  std::uint64_t lost = 0;         // by the faults of the link
  Errno error = Errno::kOk;       // why the connection failed
  bool intact = true;             // every byte read was the byte written
};

struct DirectionReport {
  double utilization = 0;  // of the rate, 0..1
  Duration queue_delay_mean{}, queue_delay_p99{}, queue_delay_max{};
  std::uint64_t packets = 0, dropped = 0, marked = 0;
};

struct Report {
  Duration time{};  // simulated
  std::vector<FlowReport> flows;
  DirectionReport data, acks;
  double goodput = 0;   // bit/s, sum over the flows
  double fairness = 0;  // Jain's index of the flows' goodput: 1/n .. 1
  std::vector<Sample> samples;
};

// Jain, Chiu and Hawe, 1984: (sum x)^2 / (n * sum x^2). 1 when nothing was shared.
double jain_index(const std::vector<double>& shares);

// The failure names what in the description makes no sense, or why the capture cannot be written.
Result<Report, Failure> simulate(const Scenario& scenario);

}  // namespace sluice::sim
