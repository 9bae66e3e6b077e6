#include "apps/sim_scenario.h"

#include <functional>
#include <optional>
#include <string_view>

#include "apps/tcp_switches.h"
#include "drivers/quantity.h"

namespace sluice::apps {

namespace {

using drivers::parse_byte_count;
using drivers::parse_duration;
using drivers::parse_probability;
using Words = std::string_view;

// The two sides of the first `separator`; the second is empty when there is none.
struct Halves {
  Words first, second;
};
Halves split(Words text, char separator) {
  const std::size_t at = text.find(separator);
  return {text.substr(0, at), at == Words::npos ? Words() : text.substr(at + 1)};
}

template <typename T>
bool assign(T& to, const std::optional<T>& from) {
  if (from) to = *from;
  return from.has_value();
}

// "256k", "100p" (packets), "1.5bdp" (of the rate and the common round trip).
std::optional<std::size_t> queue_size(Words text, const sim::Link& link, Duration round_trip) {
  double unit = 0;
  if (text.ends_with("bdp")) {
    unit = static_cast<double>(link.rate) / 8 * round_trip.to_seconds();
    text.remove_suffix(3);
  } else if (text.ends_with("p")) {
    unit = link.mtu;
    text.remove_suffix(1);
  } else {
    return parse_byte_count(text);
  }
  // A duration in seconds is a number without a unit of its own.
  const auto factor = parse_duration(std::string(text) + "s");
  return factor ? std::optional(static_cast<std::size_t>(factor->to_seconds() * unit)) : std::nullopt;
}

// Collects the first mistake, so that what is read can be listed one by one.
class Reader {
 public:
  explicit Reader(std::string subject = {}) : subject_(std::move(subject)) {}

  // Empty text: the option was not given.
  void read(const char* option, const std::string& text, const char* remedy, const std::function<bool(Words)>& take) {
    if (text.empty() || !mistake_.empty() || take(text)) return;
    mistake_ = std::string(option) + (*option != 0 ? " " : "") + "'" + text + "'" + subject_ + ": " + remedy;
  }
  [[nodiscard]] const std::string& mistake() const { return mistake_; }

 private:
  std::string subject_;
  std::string mistake_;
};

bool set_discipline(sim::Link& link, Words name) {
  if (name == "droptail") link.discipline = sim::Discipline::kDropTail;
  if (name == "codel") link.discipline = sim::Discipline::kCodel;
  if (name == "fq_codel") link.discipline = sim::Discipline::kFqCodel;
  return name == "droptail" || name == "codel" || name == "fq_codel";
}

void read_link(Reader& reader, const SimOptions& o, sim::Link& link, Duration round_trip) {
  drivers::Faults& data = link.data_faults;
  link.mtu = o.mtu;
  reader.read("--rate", o.rate, "write a rate like 100mbit; there are kbit, mbit, gbit",
              [&](Words w) { return assign(link.rate, drivers::parse_bit_rate(w)); });
  reader.read("--queue", o.queue, "write bytes like 256k, packets like 100p, or bandwidth-delay products like 1bdp",
              [&](Words w) { return assign(link.queue, queue_size(w, link, round_trip)); });
  reader.read("--qdisc", o.discipline, "there are: droptail codel fq_codel",
              [&](Words w) { return set_discipline(link, w); });
  reader.read("--ecn-threshold", o.ecn_threshold, "write bytes like 30k, packets like 20p, or 0.2bdp",
              [&](Words w) { return assign(link.ecn_threshold, queue_size(w, link, round_trip)); });
  reader.read("--loss", o.loss, "write a share of the packets like 1%",
              [&](Words w) { return assign(data.loss, parse_probability(w)); });
  reader.read("--ack-loss", o.ack_loss, "write a share of the packets like 1%",
              [&](Words w) { return assign(link.ack_faults.loss, parse_probability(w)); });
  reader.read("--burst", o.burst, "write the chances to begin and to end a burst, like 0.1%:20%", [&](Words w) {
    return assign(data.burst_enter, parse_probability(split(w, ':').first)) &&
           assign(data.burst_leave, parse_probability(split(w, ':').second));
  });
  reader.read("--jitter", o.jitter, "write the most that is added, like 2ms",
              [&](Words w) { return assign(data.jitter, parse_duration(w)); });
  reader.read("--reorder", o.reorder, "write a share of the packets and how long they are held back, like 5%:10ms",
              [&](Words w) {
                return assign(data.reorder, parse_probability(split(w, ':').first)) &&
                       assign(data.reorder_delay, parse_duration(split(w, ':').second));
              });
  reader.read("--swallow", o.swallow, "write the bytes of the largest packet that passes, like 1400",
              [&](Words w) { return assign(data.swallow, parse_byte_count(w)); });
  reader.read("--down", o.down, "write how often and for how long, like 10s:500ms", [&](Words w) {
    return assign(data.down_every, parse_duration(split(w, ':').first)) &&
           assign(data.down_for, parse_duration(split(w, ':').second));
  });
}

bool set_congestion(tcp::TcpConfig& tcp, Words name, std::string& mistake) {
  const auto index = congestion_named(std::string(name));
  if (index) tcp.congestion = *index;
  if (!index) mistake = index.error().message;
  return index.has_value();
}

// One word of a flow: "cc=newreno", "rtt=10ms", "no-timestamps"...
bool set_word(sim::Flow& flow, std::uint64_t& count, Words word) {
  const auto [key, value] = split(word, '=');
  if (key == "rtt") return assign(flow.round_trip, parse_duration(value));
  if (key == "start") return assign(flow.start, parse_duration(value));
  if (key == "bytes") return assign(flow.bytes, parse_byte_count(value));
  if (key == "n") return assign(count, parse_byte_count(value)) && count >= 1 && count <= 65534;
  if (key == "write")
    return assign(flow.write, parse_byte_count(split(value, ':').first)) &&
           assign(flow.write_every, parse_duration(split(value, ':').second));
  if (word == "tail") return flow.lose_tails = true;
  if (!value.empty()) return set_tcp_choice(key, value, flow.tcp);
  return set_tcp_switch(word, flow.tcp);
}

Result<void, Failure> add_flows(sim::Scenario& scenario, const std::string& text, sim::Flow flow) {
  std::uint64_t count = 1;
  for (Halves rest{{}, text}; !rest.second.empty();) {
    rest = split(rest.second, ',');
    std::string mistake = "--flow " + text + ": '" + std::string(rest.first) +
                          "' is nothing a flow can have; there are: n=2 cc=NAME rtt=40ms start=1s bytes=1m "
                          "write=64k:100ms tail";
    for (const TcpSwitch& s : tcp_switches()) mistake += std::string(" [no-]") + s.name;
    for (const TcpChoice& c : tcp_choices()) mistake += std::string(" ") + c.name + "=" + c.words;
    const auto [key, value] = split(rest.first, '=');
    const bool understood = key == "cc" ? set_congestion(flow.tcp, value, mistake) : set_word(flow, count, rest.first);
    if (!understood) return fail(Failure{mistake});
  }
  scenario.flows.insert(scenario.flows.end(), static_cast<std::size_t>(count), flow);
  return {};
}

}  // namespace

Result<sim::Scenario, Failure> sim_scenario(const SimOptions& o, const tcp::TcpConfig& tcp) {
  constexpr const char* kTime = "write a time like 20us, 10ms, 1.5s";
  sim::Scenario scenario;
  scenario.seed = o.seed;
  scenario.capture = o.capture;
  sim::Flow common;
  common.tcp = tcp;
  common.lose_tails = o.lose_tails;
  std::string cc_mistake;
  if (!o.congestion.empty() && !set_congestion(common.tcp, o.congestion, cc_mistake)) return fail(Failure{cc_mistake});
  Reader reader;
  const auto time = [&](const char* option, const std::string& text, Duration& to) {
    reader.read(option, text, kTime, [&](Words w) { return assign(to, parse_duration(w)); });
  };
  time("--rtt", o.round_trip, common.round_trip);
  time("--time", o.time, scenario.time);
  time("--warm-up", o.warm_up, scenario.warm_up);
  if (!o.csv.empty()) time("--every", o.every, scenario.sample_every);
  read_link(reader, o, scenario.link, common.round_trip);
  if (!reader.mistake().empty()) return fail(Failure{reader.mistake()});
  const std::size_t alike = o.count == 0 && o.flows.empty() ? 1 : o.count;
  scenario.flows.assign(alike, common);
  for (const std::string& text : o.flows) {
    if (const auto added = add_flows(scenario, text, common); !added) return fail(added.error());
  }
  return scenario;
}

}  // namespace sluice::apps
