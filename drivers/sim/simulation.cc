// sluice/simulation.hpp: builds the network and the flows of a description, runs them, and reports.
#include "sluice/simulation.hpp"

#include <algorithm>
#include <memory>

#include "drivers/capture.h"
#include "drivers/sim/codel.h"
#include "drivers/sim/drop_tail.h"
#include "drivers/sim/fq_codel.h"
#include "drivers/sim/tail_loss.h"
#include "drivers/sim/transfer.h"

namespace sluice::sim {

namespace {

constexpr std::uint16_t kPort = 5001;
constexpr std::size_t kMostFlows = 65534;  // that have addresses
constexpr Instant kStart = Instant::from_nanos(0);

// Seeds of the parts of a run. Each part has its own generator, so that one more draw in one does not change another.
enum class Part : std::uint64_t { kNetwork, kQueues, kPattern, kHosts };
std::uint64_t seed_of(std::uint64_t seed, Part part, std::uint64_t number = 0) {
  Rng rng(Rng::seed_from(seed));
  const std::uint64_t base = rng.next_u64();
  return base + (static_cast<std::uint64_t>(part) << 32) + number;
}

Bottleneck::MakeQueue maker_of(const Link& link, std::uint64_t seed) {
  return [=](QueueObserver& observer) -> std::unique_ptr<QueueDiscipline> {
    const CodelSettings codel{link.codel_target, link.codel_interval, link.mtu};
    switch (link.discipline) {
      case Discipline::kCodel:
        return std::make_unique<CodelQueue>(link.queue, codel, observer);
      case Discipline::kFqCodel: {
        SipKey key;
        Rng(Rng::seed_from(seed)).fill(key);
        FqCodelSettings settings;
        settings.codel = codel;
        return std::make_unique<FqCodel>(link.queue, settings, key, observer);
      }
      case Discipline::kDropTail:
        break;
    }
    return std::make_unique<DropTail>(link.queue, observer);
  };
}

// The first thing in the description that makes no sense; empty: none.
std::string mistake_in(const Scenario& scenario) {
  const Link& link = scenario.link;
  if (scenario.flows.empty()) return "there is no flow; add one";
  if (scenario.flows.size() > kMostFlows) return "there are at most " + std::to_string(kMostFlows) + " flows";
  if (scenario.time <= Duration()) return "the time to simulate has to be more than 0";
  if (scenario.warm_up < Duration() || scenario.warm_up >= scenario.time)
    return "the warm-up has to end before the run does";
  if (scenario.sample_every < Duration()) return "the time between samples cannot be negative";
  if (link.mtu < 576 || link.mtu > 65535) return "the MTU has to be from 576 to 65535 bytes";
  if (link.rate == 0) return "the rate of the link has to be more than 0";
  if (link.queue < link.mtu)
    return "the queue has to hold at least one packet of " + std::to_string(link.mtu) + " bytes";
  if (link.codel_target <= Duration() || link.codel_interval <= link.codel_target)
    return "CoDel's target has to be more than 0, and its interval longer than that";
  for (const Flow& flow : scenario.flows) {
    if (flow.round_trip < Duration()) return "a round trip cannot be negative";
    if (flow.start < Duration() || flow.start >= scenario.time) return "each flow has to start before the run ends";
    if (flow.write != 0 && flow.write_every <= Duration()) return "writes need a time between them that is more than 0";
    if (flow.lose_tails && flow.write == 0 && flow.bytes == 0)
      return "a flow without end has no tail to lose: give it bytes or writes";
  }
  return {};
}

// A connection between two hosts of its own.
class Connection {
 public:
  Connection(Scheduler& scheduler, Dumbbell& network, const Scenario& scenario, std::uint32_t number,
             const Pattern& pattern, std::unique_ptr<drivers::CaptureWriter> capture)
      : flow_(scenario.flows[number]),
        pair_(network.add_pair(flow_.round_trip)),
        tails_(flow_.write, flow_.bytes),
        sender_(flow_, pattern, {address(2, number), kPort}),
        receiver_(pattern, kPort),
        capture_(capture != nullptr ? std::make_unique<drivers::Capture>(*pair_.left, std::move(capture), Duration())
                                    : nullptr),
        left_(scheduler, *pair_.left, left_device(), stack_config(scenario.seed, 2 * number), address(1, number),
              sender_),
        right_(scheduler, *pair_.right, *pair_.right, stack_config(scenario.seed, 2 * number + 1), address(2, number),
               receiver_) {
    if (flow_.lose_tails) pair_.left->set_filter([this](Bytes packet) { return tails_.loses(packet); });
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] const Flow& flow() const { return flow_; }
  [[nodiscard]] tcp::Info info() { return sender_.info(left_.stack()); }
  [[nodiscard]] std::uint64_t received() const { return receiver_.bytes(); }
  [[nodiscard]] bool over() const { return sender_.over(); }

  void begin_counting() {
    before_ = info();
    bytes_before_ = receiver_.bytes();
    lost_before_ = pair_.left->lost();
  }

  FlowReport report(Instant counting_since, Instant end) {
    const tcp::Info now = info();
    FlowReport r;
    r.congestion = now.congestion;
    r.bytes = receiver_.bytes() - bytes_before_;
    const Instant start = kStart + flow_.start;
    const Instant stop = over() ? std::max(receiver_.last(), counting_since) : end;
    const Duration active = stop - std::max(start, counting_since);
    if (active > Duration()) r.goodput = static_cast<double>(r.bytes) * 8 / active.to_seconds();
    if (flow_.bytes != 0 && receiver_.bytes() == flow_.bytes) r.completed_after = receiver_.last() - start;
    r.retransmits = now.retransmits - before_.retransmits;
    r.timeouts = now.timeouts - before_.timeouts;
    r.srtt = now.srtt;
    r.lost = pair_.left->lost() - lost_before_;
    r.error = sender_.error() != Errno::kOk ? sender_.error() : receiver_.error();
    r.intact = receiver_.intact();
    return r;
  }

 private:
  [[nodiscard]] link::NetDevice& left_device() {
    return capture_ != nullptr ? static_cast<link::NetDevice&>(*capture_) : *pair_.left;
  }
  static wire::Ipv4Address address(std::uint8_t side, std::uint32_t number) {
    ++number;  // no host is 10.x.0.0
    return wire::Ipv4Address::of(10, side, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number));
  }
  [[nodiscard]] StackConfig stack_config(std::uint64_t seed, std::uint32_t host) const {
    StackConfig config;
    config.tcp = flow_.tcp;
    config.seed = Rng::seed_from(seed_of(seed, Part::kHosts, host));
    if (host % 2 == 0 && capture_ != nullptr) config.events = capture_->events(nullptr);
    return config;
  }

  const Flow& flow_;
  Dumbbell::Pair& pair_;
  TailLoss tails_;
  Sender sender_;
  Receiver receiver_;
  std::unique_ptr<drivers::Capture> capture_;  // may be null
  Host left_, right_;
  tcp::Info before_;  // and what follows: when counting began
  std::uint64_t bytes_before_ = 0, lost_before_ = 0;
};

Dumbbell::Direction direction_of(const Link& link, const drivers::Faults& faults, std::uint64_t seed) {
  return {{link.rate, link.ecn_threshold}, faults, maker_of(link, seed)};
}

class Run {
 public:
  Run(const Scenario& scenario, std::unique_ptr<drivers::CaptureWriter> capture)
      : scenario_(scenario),
        network_(scheduler_,
                 direction_of(scenario.link, scenario.link.data_faults, seed_of(scenario.seed, Part::kQueues, 0)),
                 direction_of(scenario.link, scenario.link.ack_faults, seed_of(scenario.seed, Part::kQueues, 1)),
                 scenario.link.mtu, seed_of(scenario.seed, Part::kNetwork)),
        pattern_(seed_of(scenario.seed, Part::kPattern)) {
    for (std::uint32_t i = 0; i < scenario.flows.size(); ++i)
      connections_.push_back(
          std::make_unique<Connection>(scheduler_, network_, scenario, i, pattern_, std::move(capture)));
    sampled_.resize(scenario.flows.size());
  }

  Report run() {
    const Instant end = kStart + scenario_.time;
    counting_since_ = kStart + scenario_.warm_up;
    Instant sample_at = scenario_.sample_every > Duration() ? kStart + scenario_.sample_every : Instant::never();
    if (scenario_.warm_up > Duration()) {
      advance(counting_since_, sample_at);
      for (const auto& c : connections_) c->begin_counting();
      network_.to_right().forget();
      network_.to_left().forget();
    }
    while (scheduler_.now() < end && !all_over()) {
      advance(std::min(scheduler_.now() + kLook, end), sample_at);
    }
    if (scenario_.sample_every > Duration()) sample();
    return report();
  }

 private:
  static constexpr Duration kLook = 10_ms;  // between looks whether all is done

  void advance(Instant to, Instant& sample_at) {
    for (; sample_at <= to; sample_at = sample_at + scenario_.sample_every) {
      scheduler_.run_until(sample_at);
      sample();
    }
    scheduler_.run_until(to);
  }

  [[nodiscard]] bool all_over() const {
    return std::all_of(connections_.begin(), connections_.end(), [](const auto& c) { return c->over(); });
  }

  void sample() {
    const double seconds = (scheduler_.now() - sampled_at_).to_seconds();
    if (seconds <= 0) return;
    sampled_at_ = scheduler_.now();
    const QueueDiscipline& queue = network_.to_right().queue();
    for (std::uint32_t i = 0; i < connections_.size(); ++i) {
      const tcp::Info info = connections_[i]->info();
      const std::uint64_t received = connections_[i]->received();
      const double bits = static_cast<double>(received - sampled_[i]) * 8;
      sampled_[i] = received;
      samples_.push_back({scheduler_.now() - kStart, i, info.cwnd, info.ssthresh, info.flight, info.srtt,
                          bits / seconds, info.retransmits, queue.bytes(), queue.packets()});
    }
  }

  [[nodiscard]] DirectionReport report_of(const Bottleneck& way) const {
    DirectionReport r;
    const PacketCounts& total = way.total();
    const double seconds = (scheduler_.now() - counting_since_).to_seconds();
    if (seconds > 0)
      r.utilization = static_cast<double>(total.bytes) * 8 / seconds / static_cast<double>(scenario_.link.rate);
    r.queue_delay_mean = way.waits().mean();
    r.queue_delay_p99 = way.waits().quantile(0.99);
    r.queue_delay_max = way.waits().max();
    r.packets = total.packets;
    r.dropped = total.dropped;
    r.marked = total.marked;
    return r;
  }

  Report report() {
    Report r;
    r.time = scheduler_.now() - kStart;
    r.data = report_of(network_.to_right());
    r.acks = report_of(network_.to_left());
    std::vector<double> shares;
    for (std::uint32_t i = 0; i < connections_.size(); ++i) {
      FlowReport flow = connections_[i]->report(counting_since_, scheduler_.now());
      const PacketCounts counts = network_.to_right().of_pair(i);
      flow.dropped = counts.dropped;
      flow.marked = counts.marked;
      shares.push_back(flow.goodput);
      r.goodput += flow.goodput;
      r.flows.push_back(std::move(flow));
    }
    r.fairness = jain_index(shares);
    r.samples = std::move(samples_);
    return r;
  }

  const Scenario& scenario_;
  Scheduler scheduler_;
  Dumbbell network_;
  Pattern pattern_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Instant counting_since_;
  Instant sampled_at_ = kStart;
  std::vector<std::uint64_t> sampled_;  // bytes received by each flow at the last sample
  std::vector<Sample> samples_;
};

}  // namespace

double jain_index(const std::vector<double>& shares) {
  double sum = 0, squares = 0;
  for (const double x : shares) {
    sum += x;
    squares += x * x;
  }
  return squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 1;
}

Result<Report, Failure> simulate(const Scenario& scenario) {
  const std::string mistake = mistake_in(scenario);
  if (!mistake.empty()) return fail(Failure{mistake});
  if (scenario.capture.empty()) return Run(scenario, nullptr).run();
  auto capture = drivers::create_capture(scenario.capture, link::Medium::kIp, link::Fcs::kNone);
  if (!capture) return fail(capture.error());
  return Run(scenario, std::move(*capture)).run();
}

}  // namespace sluice::sim
