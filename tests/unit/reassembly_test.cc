// Reassembly against a reference model, exhaustively, and under attack.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "stack/ip/reassembly.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

class Timeouts final : public ip::ReassemblyUser {
 public:
  void on_reassembly_timeout(Bytes first, ip::InterfaceId) override { first.empty() ? ++without_first : ++with_first; }
  int with_first = 0;
  int without_first = 0;
};

struct Bench {
  explicit Bench(const ip::IpConfig& config = {}) : reassembler(context, pool, user, config) {
    context.now = Instant::from_nanos(1'000'000'000'000);
  }
  // Hands in one fragment; the payload of the datagram that it completes, if any.
  std::optional<Octets> add(const wire::ipv4::Header& fields, Bytes payload) {
    wire::ipv4::Header h = fields;
    h.total_length = static_cast<std::uint16_t>(20 + payload.size());
    buf::Buffer buffer = pool.allocate(h.total_length);
    buffer.set_view(0, h.total_length);
    wire::ipv4::emit(buffer.writable(), h);
    std::copy(payload.begin(), payload.end(), buffer.writable().begin() + 20);
    const auto parsed = wire::ipv4::parse(buffer.bytes());
    const buf::Buffer whole = reassembler.add(std::move(buffer), parsed.value(), 1);
    if (!whole) return std::nullopt;
    const auto joined = wire::ipv4::parse(whole.bytes()).value();
    EXPECT_FALSE(joined.header.is_fragment());
    tos = joined.header.tos;
    return Octets(joined.payload.begin(), joined.payload.end());
  }
  void after(Duration d) {
    const Instant end = context.now + d;
    while (context.timers.next_deadline() <= end) {
      context.now = context.timers.next_deadline();
      context.timers.advance(context.now);
    }
    context.now = end;
  }
  Context context{Rng::seed_from(5)};
  buf::Pool pool;
  Timeouts user;
  ip::Reassembler reassembler;
  std::uint8_t tos = 0;
};

wire::ipv4::Header header(std::size_t offset, bool more, std::uint16_t id = 1, Ipv4Address source = kPeer) {
  return {.identification = id,
          .more_fragments = more,
          .fragment_offset = static_cast<std::uint16_t>(offset),
          .ttl = 64,
          .protocol = 17,
          .source = source,
          .destination = kUs};
}

// --- the model: a datagram of six units of 8 bytes

constexpr std::size_t kUnits = 6;

struct Piece {
  std::size_t begin, end;  // units
  bool more;
  std::uint8_t fill;
  bool operator==(const Piece&) const = default;
};

// The rule as the header of reassembly.h states it, on sets of pieces, without a thought for speed.
struct Model {
  enum class Outcome { kHeld, kComplete, kDropped };
  std::vector<Piece> held;
  bool dead = false;

  [[nodiscard]] std::optional<std::size_t> total() const {
    for (const Piece& p : held) {
      if (!p.more) return p.end;
    }
    return std::nullopt;
  }
  [[nodiscard]] bool holds_extent_of(const Piece& p) const {
    return std::any_of(held.begin(), held.end(), [&](const Piece& h) { return h.begin == p.begin && h.end == p.end; });
  }
  Outcome add(const Piece& p) {
    if (dead) return Outcome::kDropped;
    const auto known = total();
    const bool past_end = known && (p.end > *known || (!p.more && p.end != *known));
    const bool end_inside =
        !p.more && std::any_of(held.begin(), held.end(), [&](const Piece& h) { return h.end > p.end; });
    const auto twin = [&](const Piece& h) { return h.begin == p.begin && h.end == p.end && h.fill == p.fill; };
    const bool overlaps =
        std::any_of(held.begin(), held.end(), [&](const Piece& h) { return h.begin < p.end && p.begin < h.end; });
    const auto same = std::find_if(held.begin(), held.end(), twin);
    if (past_end || end_inside || (overlaps && same == held.end())) {
      dead = true;
      return Outcome::kDropped;
    }
    if (same != held.end()) {
      same->more = same->more && p.more;
    } else {
      held.push_back(p);
    }
    if (!total()) return Outcome::kHeld;
    std::size_t covered = 0;
    for (const Piece& h : held) covered += h.end - h.begin;
    return covered == *total() ? Outcome::kComplete : Outcome::kHeld;
  }
};

std::vector<Piece> all_pieces() {
  std::vector<Piece> out;
  for (std::size_t begin = 0; begin < kUnits; ++begin) {
    for (std::size_t end = begin + 1; end <= kUnits; ++end) {
      for (const bool more : {true, false}) {
        for (const std::uint8_t fill : {std::uint8_t{0}, std::uint8_t{7}}) out.push_back({begin, end, more, fill});
      }
    }
  }
  return out;
}

class Exhaustive {
 public:
  // Every sequence that begins as `sequence` does and is not decided yet, up to five fragments; and what comes after a
  // decision is shown not to bring a dropped datagram back.
  void explore(std::vector<Piece>& sequence, const Model& model) {
    for (const Piece& next : pieces_) {
      if (next.fill != 0 && !model.holds_extent_of(next)) continue;  // its bytes are like any others
      Model after = model;
      const Model::Outcome outcome = after.add(next);
      sequence.push_back(next);
      check(sequence, outcome);
      if (outcome == Model::Outcome::kHeld && sequence.size() < 5) explore(sequence, after);
      sequence.pop_back();
      if (::testing::Test::HasFailure()) return;
    }
  }
  [[nodiscard]] std::size_t runs() const { return runs_; }

 private:
  // Each octet of the datagram is its own offset, or so much more as the piece has other bytes.
  static Bytes bytes_of(const Piece& p) {
    static const Octets kCount = [] {
      Octets out(kUnits * 8 + UINT8_MAX);
      std::iota(out.begin(), out.end(), std::uint8_t{0});
      return out;
    }();
    return Bytes(kCount).subspan(p.begin * 8 + p.fill, (p.end - p.begin) * 8);
  }
  void check(const std::vector<Piece>& sequence, Model::Outcome want) {
    ++runs_;
    ++id_;
    if (id_ % 64 == 0) bench_.after(31_s);  // forget what is left of those before
    std::optional<Octets> got;
    const auto feed = [&](const Piece& p) { return bench_.add(header(p.begin * 8, p.more, id_), bytes_of(p)); };
    for (const Piece& p : sequence) {
      ASSERT_FALSE(got) << describe(sequence);
      got = feed(p);
    }
    ASSERT_EQ(got.has_value(), want == Model::Outcome::kComplete) << describe(sequence);
    if (got.has_value()) {
      ASSERT_EQ(*got, expected(sequence)) << describe(sequence);
    }
    if (want != Model::Outcome::kDropped) return;
    for (std::size_t i = 0; i < kUnits; ++i) {
      ASSERT_FALSE(feed({i, i + 1, i + 1 < kUnits, 0})) << describe(sequence) << "then all again";
    }
  }
  static Octets expected(const std::vector<Piece>& sequence) {
    std::vector<std::uint8_t> out;
    out.assign(kUnits * 8, 0);
    std::size_t size = 0;
    for (const Piece& p : sequence) {
      const Bytes bytes = bytes_of(p);
      std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(p.begin * 8));
      size = std::max(size, p.end * 8);
    }
    out.resize(size);
    return out;
  }
  static std::string describe(const std::vector<Piece>& sequence) {
    std::string out;
    for (const Piece& p : sequence) {
      out += std::to_string(p.begin) + "-" + std::to_string(p.end) + (p.more ? "" : " last") +
             (p.fill != 0 ? " other bytes" : "") + ", ";
    }
    return out;
  }

  std::vector<Piece> pieces_ = all_pieces();
  Bench bench_;
  std::uint16_t id_ = 0;
  std::size_t runs_ = 0;
};

// (RFC791-05, -07; RFC815-01, RFC5722-04) S20, S21: all sequences of up to five fragments over 48 bytes, each piece
// with and without "more", with right and with other bytes.
TEST(Ipv4Reassembly, EverySequenceAgreesWithTheModel) {
  Exhaustive all;
  std::vector<Piece> sequence;
  all.explore(sequence, Model());
  EXPECT_GT(all.runs(), 100'000u);
}

// --- time, fields, bounds

// (RFC1122-FRAG-05, -06): later fragments do not renew the time.
TEST(Ipv4Reassembly, TimeIsFixed) {
  Bench b;
  for (std::size_t at = 0; at < 29; ++at) {
    EXPECT_FALSE(b.add(header(at * 8, true), Octets(8)));
    b.after(1_s);
  }
  EXPECT_EQ(b.reassembler.datagrams(), 1u);
  b.after(1001_ms);
  EXPECT_EQ(b.reassembler.datagrams(), 0u);
  EXPECT_EQ(b.reassembler.bytes(), 0u);
  EXPECT_EQ(b.user.with_first, 1);
  Bench other({.reassembly_timeout = 60_s});
  EXPECT_FALSE(other.add(header(8, true), Octets(8)));
  other.after(59_s);
  EXPECT_EQ(other.reassembler.datagrams(), 1u);
  other.after(1_s);
  EXPECT_EQ(other.user.without_first, 1);
}

struct TosRow {
  std::uint8_t first, second, want;
};

// (RFC3168-15): the fields are those of the first fragment, in whatever order they come; CE on any is kept.
TEST(Ipv4Reassembly, TosAndCongestion) {
  for (const TosRow& row : {TosRow{0xb8, 0x00, 0xb8}, TosRow{0x02, 0x03, 0x03}, TosRow{0x03, 0x02, 0x03}}) {
    for (const bool reversed : {false, true}) {
      Bench b;
      wire::ipv4::Header h1 = header(0, true);
      wire::ipv4::Header h2 = header(8, false);
      h1.tos = row.first;
      h2.tos = row.second;
      if (reversed) std::swap(h1, h2);
      EXPECT_FALSE(b.add(h1, Octets(8)));
      EXPECT_TRUE(b.add(h2, Octets(8)));
      EXPECT_EQ(b.tos, row.want);
    }
  }
}

// (RFC791-06) S19: every end near the limit.
TEST(Ipv4Reassembly, NothingPastTheLargestDatagram) {
  for (std::size_t size = 1; size <= 40; ++size) {
    Bench b;
    EXPECT_FALSE(b.add(header(65488, false), Octets(size)));
    EXPECT_EQ(b.context.counters.get(Drop::kFragMalformed), 65488 + size + 20 > 65535 ? 1u : 0u) << size;
  }
}

// (RFC6274-02) S22, S23: first halves from 100 000 sources and from one; memory keeps its bound all the time, and a
// good datagram gets through in between.
TEST(Ipv4Reassembly, FloodsStayInBounds) {
  const ip::IpConfig config;
  Bench b;
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    EXPECT_FALSE(b.add(header(0, true, static_cast<std::uint16_t>(i), Ipv4Address{0x0a000000 + i}), Octets(1480)));
    EXPECT_FALSE(b.add(header(8000, true, static_cast<std::uint16_t>(i), Ipv4Address::of(10, 9, 9, 9)), Octets(1480)));
    ASSERT_LE(b.reassembler.bytes(), config.reassembly_max_bytes);
    ASSERT_LE(b.reassembler.datagrams(), config.reassembly_max_datagrams);
    if (i % 1000 != 0) continue;
    const auto id = static_cast<std::uint16_t>(i / 1000);
    EXPECT_FALSE(b.add(header(0, true, id), Octets(16)));
    EXPECT_TRUE(b.add(header(16, false, id), Octets(16)));
  }
  EXPECT_LE(b.pool.heap_bytes(), 2 * config.reassembly_max_bytes);
}

}  // namespace
}  // namespace sluice::test
