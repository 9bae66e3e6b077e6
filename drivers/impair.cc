#include "drivers/impair.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "drivers/quantity.h"
#include "stack/wire/crc32.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"

namespace sluice::drivers {

namespace {

template <typename T>
bool assign(T& to, const std::optional<T>& from) {
  if (from) to = *from;
  return from.has_value();
}

bool set_part(Impairment& i, std::string_view key, std::string_view value) {
  const std::size_t colon = value.find(':');
  const std::string_view first = value.substr(0, colon);
  const std::string_view second = colon == std::string_view::npos ? std::string_view() : value.substr(colon + 1);
  if (key == "loss") return assign(i.loss, parse_probability(value));
  if (key == "duplicate") return assign(i.duplicate, parse_probability(value));
  if (key == "corrupt") return assign(i.corrupt, parse_probability(value));
  if (key == "mark") return assign(i.mark, parse_probability(value));
  if (key == "delay") return assign(i.delay, parse_duration(value));
  if (key == "jitter") return assign(i.jitter, parse_duration(value));
  if (key == "rate") return assign(i.rate, parse_bit_rate(value));
  if (key == "queue") return assign(i.queue, parse_byte_count(value));
  if (key == "burst")
    return assign(i.burst_enter, parse_probability(first)) && assign(i.burst_leave, parse_probability(second));
  if (key == "reorder") {
    return assign(i.reorder, parse_probability(first)) &&
           (second.empty() || assign(i.reorder_delay, parse_duration(second)));
  }
  if (key == "swallow") return assign(i.swallow, parse_byte_count(value));
  if (key == "down") return assign(i.down_every, parse_duration(first)) && assign(i.down_for, parse_duration(second));
  return false;
}

// False when there is no ECN-capable IPv4 packet in the frame.
bool mark_congestion(const link::Capabilities& device, MutableBytes frame) {
  std::size_t before = 0;
  if (device.medium == link::Medium::kEthernet) {
    const auto parsed = wire::ethernet::parse(frame);
    if (!parsed || parsed->header.type != wire::ethernet::kIpv4) return false;
    before = parsed->header_size;
  }
  const MutableBytes packet = frame.subspan(before);
  if (packet.size() < wire::ipv4::kHeaderSize || packet[0] >> 4 != 4 || !wire::ipv4::mark_congestion(packet))
    return false;
  if (device.fcs == link::Fcs::kPresent) {
    const std::size_t end = frame.size() - wire::ethernet::kFcsSize;
    wire::ethernet::emit_fcs(frame.subspan(end), wire::crc32(frame.first(end)));
  }
  return true;
}

}  // namespace

Result<Impairment, Failure> parse_impairment(const std::string& text) {
  Impairment i;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos || !set_part(i, part.substr(0, equals), part.substr(equals + 1))) {
      return fail(Failure{"'" + std::string(part) +
                          "' is no impairment; there are: loss=1% burst=1%:20% delay=10ms jitter=2ms reorder=5%:10ms "
                          "duplicate=1% corrupt=0.1% mark=1% rate=100mbit queue=256k down=10s:500ms swallow=1400"});
    }
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return i;
}

Impair::Impair(link::NetDevice& inner, const Impairment& what, std::uint64_t seed)
    : inner_(inner),
      capabilities_(inner.capabilities()),
      what_(what),
      rng_(Rng::seed_from(seed)),
      in_{FaultModel(what_, rng_)},
      out_{FaultModel(what_, rng_)} {
  capabilities_.tx_checksum = capabilities_.tso4 = capabilities_.tso6 = capabilities_.uso = false;
  capabilities_.max_gso_bytes = 0;
}

// A frame's way: loss, the rate's queue, delay, and what may happen to it besides.
void Impair::pass(Instant now, Direction& d, std::vector<std::uint8_t> bytes) {
  ++counts_.frames;
  if (d.faults.loses(now, bytes.size())) return void(++counts_.lost);
  Instant due = now;
  if (what_.rate > 0) {
    if (d.waiting + bytes.size() > what_.queue) return void(++counts_.queue_full);
    const auto ns =
        static_cast<std::int64_t>(static_cast<double>(bytes.size()) * 8e9 / static_cast<double>(what_.rate));
    d.line_free = due = std::max(now, d.line_free) + Duration::nanos(ns);
  }
  due = d.faults.jittered(due + what_.delay);
  if (chance(rng_, what_.corrupt) && !bytes.empty()) {
    ++counts_.corrupted;
    bytes[rng_.below(static_cast<std::uint32_t>(bytes.size()))] ^= static_cast<std::uint8_t>(1u << rng_.below(8));
  }
  if (chance(rng_, what_.mark) && mark_congestion(capabilities_, bytes)) ++counts_.marked;
  if (chance(rng_, what_.duplicate)) {
    ++counts_.duplicated;
    schedule(d, due, bytes);
  }
  if (d.faults.holds_back()) {
    ++counts_.reordered;
    due = due + what_.reorder_delay;
  }
  schedule(d, due, std::move(bytes));
}

void Impair::schedule(Direction& d, Instant due, std::vector<std::uint8_t> bytes) {
  d.waiting += bytes.size();
  auto at = d.frames.end();
  while (at != d.frames.begin() && std::prev(at)->due > due) --at;
  d.frames.insert(at, Frame{due, std::move(bytes)});
}

void Impair::flush_out(Instant now) {
  while (!out_.frames.empty() && out_.frames.front().due <= now) {
    const Frame& frame = out_.frames.front();
    const buf::TxFrame tx{frame.bytes, {}, {}};
    if (inner_.tx(now, {&tx, 1}) == 0) return;
    out_.waiting -= frame.bytes.size();
    out_.frames.pop_front();
  }
}

std::size_t Impair::tx(Instant now, std::span<const buf::TxFrame> frames) {
  for (const buf::TxFrame& frame : frames) {
    std::vector<std::uint8_t> bytes(frame.size());
    frame.copy_to(bytes);
    pass(now, out_, std::move(bytes));
  }
  flush_out(now);
  return frames.size();
}

std::size_t Impair::rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) {
  flush_out(now);
  std::array<buf::RxFrame, 64> batch;
  for (std::size_t n = batch.size(); n == batch.size();) {
    n = inner_.rx(now, pool, batch);
    for (std::size_t i = 0; i < n; ++i) {
      const Bytes bytes = batch[i].buffer.bytes();
      pass(now, in_, {bytes.begin(), bytes.end()});
    }
  }
  std::size_t n = 0;
  while (n < out.size() && !in_.frames.empty() && in_.frames.front().due <= now) {
    buf::Buffer buffer = pool.copy_of(in_.frames.front().bytes);
    if (!buffer) break;
    out[n++] = {std::move(buffer), {}, static_cast<std::uint32_t>(in_.frames.front().bytes.size())};
    in_.waiting -= in_.frames.front().bytes.size();
    in_.frames.pop_front();
  }
  return n;
}

Instant Impair::next_deadline() const {
  Instant next = inner_.next_deadline();
  if (!in_.frames.empty()) next = std::min(next, in_.frames.front().due);
  if (!out_.frames.empty()) next = std::min(next, out_.frames.front().due);
  return next;
}

}  // namespace sluice::drivers
