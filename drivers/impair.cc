#include "drivers/impair.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>

namespace sluice::drivers {

namespace {

// A number and its unit: "10ms" is {10, "ms"}.
struct Quantity {
  double value = 0;
  std::string_view unit;
};

std::optional<Quantity> quantity(std::string_view text) {
  Quantity q;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), q.value);
  if (error != std::errc() || q.value < 0) return {};
  q.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return q;
}

std::optional<double> scaled(std::string_view text, const std::map<std::string_view, double>& units) {
  const auto q = quantity(text);
  if (!q) return {};
  const auto unit = units.find(q->unit);
  if (unit == units.end()) return {};
  return q->value * unit->second;
}

std::optional<double> probability(std::string_view text) {
  const auto p = scaled(text, {{"", 1}, {"%", 0.01}});
  return p && *p <= 1 ? p : std::nullopt;
}
std::optional<Duration> duration(std::string_view text) {
  const auto ns = scaled(text, {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}});
  if (!ns) return {};
  return Duration::nanos(static_cast<std::int64_t>(*ns));
}

template <typename T>
bool assign(T& to, const std::optional<T>& from) {
  if (from) to = *from;
  return from.has_value();
}

bool set_rate(Impairment& i, std::string_view value) {
  const auto bits = scaled(value, {{"", 1}, {"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}});
  if (bits) i.rate = static_cast<std::uint64_t>(*bits);
  return bits.has_value();
}
bool set_queue(Impairment& i, std::string_view value) {
  const auto bytes = scaled(value, {{"", 1}, {"k", 1024}, {"m", 1 << 20}});
  if (bytes) i.queue = static_cast<std::size_t>(*bytes);
  return bytes.has_value();
}

bool set_part(Impairment& i, std::string_view key, std::string_view value) {
  const std::size_t colon = value.find(':');
  const std::string_view first = value.substr(0, colon);
  const std::string_view second = colon == std::string_view::npos ? std::string_view() : value.substr(colon + 1);
  if (key == "loss") return assign(i.loss, probability(value));
  if (key == "duplicate") return assign(i.duplicate, probability(value));
  if (key == "corrupt") return assign(i.corrupt, probability(value));
  if (key == "delay") return assign(i.delay, duration(value));
  if (key == "jitter") return assign(i.jitter, duration(value));
  if (key == "rate") return set_rate(i, value);
  if (key == "queue") return set_queue(i, value);
  if (key == "burst") return assign(i.burst_enter, probability(first)) && assign(i.burst_leave, probability(second));
  if (key == "reorder") {
    return assign(i.reorder, probability(first)) && (second.empty() || assign(i.reorder_delay, duration(second)));
  }
  if (key == "down") return assign(i.down_every, duration(first)) && assign(i.down_for, duration(second));
  return false;
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
                          "duplicate=1% corrupt=0.1% rate=100mbit queue=256k down=10s:500ms"});
    }
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return i;
}

Impair::Impair(link::NetDevice& inner, const Impairment& what, std::uint64_t seed)
    : inner_(inner), capabilities_(inner.capabilities()), what_(what), rng_(Rng::seed_from(seed)) {
  capabilities_.tx_checksum = capabilities_.tso4 = capabilities_.tso6 = capabilities_.uso = false;
  capabilities_.max_gso_bytes = 0;
}

bool Impair::chance(double probability) {
  return probability > 0 && rng_.next_double() < probability;
}

bool Impair::lost(Instant now, Direction& d) {
  if (what_.burst_enter > 0) {
    d.bad = d.bad ? !chance(what_.burst_leave) : chance(what_.burst_enter);
    if (d.bad) return true;
  }
  if (what_.down_every > Duration() && now.to_nanos() % what_.down_every.to_nanos() < what_.down_for.to_nanos())
    return true;
  return chance(what_.loss);
}

// A frame's way: loss, the rate's queue, delay, and what may happen to it besides.
void Impair::pass(Instant now, Direction& d, std::vector<std::uint8_t> bytes) {
  ++counts_.frames;
  if (lost(now, d)) return void(++counts_.lost);
  Instant due = now;
  if (what_.rate > 0) {
    if (d.waiting + bytes.size() > what_.queue) return void(++counts_.queue_full);
    const auto ns =
        static_cast<std::int64_t>(static_cast<double>(bytes.size()) * 8e9 / static_cast<double>(what_.rate));
    d.line_free = due = std::max(now, d.line_free) + Duration::nanos(ns);
  }
  due = due + what_.delay;
  if (what_.jitter > Duration()) {
    due = due +
          Duration::nanos(static_cast<std::int64_t>(rng_.next_double() * static_cast<double>(what_.jitter.to_nanos())));
    due = std::max(due, d.last_due);
  }
  d.last_due = due;
  if (chance(what_.corrupt) && !bytes.empty()) {
    ++counts_.corrupted;
    bytes[rng_.below(static_cast<std::uint32_t>(bytes.size()))] ^= static_cast<std::uint8_t>(1u << rng_.below(8));
  }
  if (chance(what_.duplicate)) {
    ++counts_.duplicated;
    schedule(d, due, bytes);
  }
  if (chance(what_.reorder)) {
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
