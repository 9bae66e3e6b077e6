// SYN cookies: RFC 4987 §3.6.
#include "stack/tcp/syn_cookie.h"

#include <set>

#include "stack/tcp/connection.h"
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using tcp::Seq;
using tcp::SynCookies;
using tcp::SynCookieUse;

const tcp::FourTuple kTuple{{wire::Ipv4Address{kOurAddress}, 80}, {wire::Ipv4Address{kPeerAddress}, 40000}};
const Instant kNow = Instant::from_nanos(1'000'000'000'000);

SynCookies cookies_of(std::uint64_t seed) {
  Rng rng(Rng::seed_from(seed));
  return SynCookies(rng);
}

// (RFC4987-02): the MSS comes back, rounded down to one that the table has.
TEST(SynCookie, Mss) {
  const SynCookies cookies = cookies_of(1);
  struct Row {
    std::uint16_t offered, got;
  };
  for (const Row& row : {Row{88, 88}, Row{535, 88}, Row{536, 536}, Row{1220, 1024}, Row{1459, 1440}, Row{1460, 1460},
                         Row{8960, 8960}, Row{65495, 8960}}) {
    const Seq cookie = cookies.make(kTuple, Seq(7), row.offered, kNow);
    EXPECT_EQ(cookies.check(kTuple, Seq(7), cookie, kNow).value_or(0), row.got) << row.offered;
  }
}

// (RFC4987-02): it is good for this SYN, this stack and this time only.
TEST(SynCookie, BoundToSynKeyAndTime) {
  const SynCookies cookies = cookies_of(1);
  const Seq cookie = cookies.make(kTuple, Seq(7), 1460, kNow);
  EXPECT_TRUE(cookies.check(kTuple, Seq(7), cookie, kNow + SynCookies::kLifetime / 2));
  EXPECT_FALSE(cookies.check(kTuple, Seq(7), cookie, kNow + SynCookies::kLifetime));
  EXPECT_FALSE(cookies.check(kTuple, Seq(8), cookie, kNow));
  EXPECT_FALSE(cookies_of(2).check(kTuple, Seq(7), cookie, kNow));
  tcp::FourTuple other = kTuple;
  other.peer.port += 1;
  EXPECT_FALSE(cookies.check(other, Seq(7), cookie, kNow));
}

TEST(SynCookie, GuessesFail) {
  const SynCookies cookies = cookies_of(1);
  Rng rng(Rng::seed_from(3));
  int right = 0;
  for (int i = 0; i < 1'000'000; ++i) right += cookies.check(kTuple, Seq(7), Seq(rng.next_u32()), kNow) ? 1 : 0;
  EXPECT_LE(right, 1);  // 0.004 are to be expected
}

// (RFC7323-33): the clock that carries options never runs ahead, and is hardly behind.
TEST(SynCookie, OptionsInTimestamp) {
  for (const std::uint32_t clock : {0u, 5u, 63u, 64u, 1'000'000u, UINT32_MAX}) {
    for (std::uint8_t scale = 0; scale <= 15; ++scale) {
      const bool scaling = scale < 15;
      const std::uint32_t value = tcp::put_in_timestamp(
          clock, {.send_scale = static_cast<std::uint8_t>(scaling ? scale : 0), .window_scaling = scaling});
      EXPECT_LT(clock - value, 64u);
      tcp::Negotiated got;
      tcp::take_from_echo(value, got);
      EXPECT_EQ(got.window_scaling, scaling);
      EXPECT_EQ(got.send_scale, scaling ? scale : 0);
    }
  }
}

ScriptOptions with(SynCookieUse use, std::size_t queue = 16) {
  ScriptOptions o;
  o.tcp.syn_cookies = use;
  o.tcp.max_syn_queue = queue;
  return o;
}

std::size_t flows(Script& h) {
  std::size_t count = 0;
  h.stack().tcp().visit_connections(
      [](void* n, const tcp::Endpoint&, const tcp::Endpoint&, const tcp::Info& info) {
        *static_cast<std::size_t*>(n) += info.state != tcp::State::kListen ? 1 : 0;
      },
      &count);
  return count;
}

void flood(Script& h, std::uint32_t first, std::uint32_t count) {
  for (std::uint32_t i = first; i < first + count; ++i) {
    h.rx({.flags = "S", .seq = i * 977, .ack = 0, .src_port = 1234, .source = 0x0a000000 + i});
  }
}

// (RFC4987-03): a 100,000 SYNs of others keep nobody out, neither who came before nor who comes in the middle, and take
// no memory beyond the queue.
TEST(SynCookie, FloodKeepsNobodyOut) {
  Script h(with(SynCookieUse::kWhenFull));
  EXPECT_TRUE(h.stack().ip().add_route({{wire::Ipv4Address{0}, 0}, wire::Ipv4Address{kPeerAddress}, h.interface()}));
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .src_port = 2000});
  const std::uint32_t early = h.expect_tx({.flags = "SA"}).seq;
  flood(h, 1, 50'000);
  h.device().from_stack.clear();
  EXPECT_EQ(flows(h), 16u);
  h.rx({.seq = 1, .ack = early + 1, .src_port = 2000});
  h.accept();
  flood(h, 50'001, 10);
  h.device().from_stack.clear();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1400});
  h.expect_tx({.flags = "SA", .seq = 0, .ack = 1});
  flood(h, 50'011, 49'990);
  h.device().from_stack.clear();
  EXPECT_EQ(flows(h), 17u);
  h.rx({.seq = 1, .ack = 1});
  h.accept();
  h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "hello"});
  EXPECT_EQ(h.read(), "hello");
  EXPECT_EQ(h.info().send_mss, 1400u);
  EXPECT_EQ(h.counters().get(Counter::kTcpSynCookiesSent), 100'000u - 15);
  EXPECT_EQ(h.counters().get(Counter::kTcpSynCookiesTaken), 1u);
  EXPECT_EQ(h.counters().get(Drop::kTcpSynQueueFull), 0u);
}

TEST(SynCookie, NoneUnlessFull) {
  Script h(with(SynCookieUse::kWhenFull));
  h.establish();
  EXPECT_EQ(h.counters().get(Counter::kTcpSynCookiesSent), 0u);
  // With none about an ACK is not even looked at.
  h.rx({.seq = 1, .ack = 1, .src_port = 2000});
  h.expect_tx({.flags = "R"});
  EXPECT_EQ(h.counters().get(Drop::kTcpCookie), 0u);
}

// With timestamps nothing that was offered is lost; the first data may come with the last ACK, or in its place.
TEST(SynCookie, OptionsWithTimestamps) {
  Script h(with(SynCookieUse::kAlways));
  h.listen();
  h.rx(
      {.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .scale = 7, .sack_ok = true, .ts = Segment::Timestamps{1000, 0}});
  const Segment answer = h.expect_tx({.flags = "SA", .has_scale = true, .ts_echo = 1000});
  EXPECT_TRUE(answer.sack_ok);
  EXPECT_EQ(flows(h), 0u);
  h.after(30_ms);
  h.rx({.flags = "PA",
        .seq = 1,
        .ack = 1,
        .win = 500,
        .payload = "abc",
        .ts = Segment::Timestamps{1030, answer.ts->value}});
  h.accept();
  EXPECT_EQ(h.read(), "abc");
  const tcp::Info info = h.info();
  EXPECT_TRUE(info.timestamps);
  EXPECT_TRUE(info.window_scaling);
  EXPECT_TRUE(info.sack);
  EXPECT_EQ(info.send_scale, 7);
  EXPECT_EQ(info.receive_scale, *answer.scale);
  EXPECT_EQ(info.snd_wnd, 500u << 7);
  EXPECT_EQ(info.srtt, Duration());  // the echo is no clock
  EXPECT_GE(h.expect_tx({.flags = "A", .ack = 4, .ts_echo = 1030}).ts->value, answer.ts->value);
}

TEST(SynCookie, WithoutTimestampsThereIsNoScale) {
  Script h(with(SynCookieUse::kAlways));
  h.establish({.flags = "S", .seq = 0, .ack = 0, .win = 1000, .mss = 1300, .scale = 7, .sack_ok = true});
  EXPECT_FALSE(h.info().sack);
  EXPECT_FALSE(h.info().window_scaling);
  EXPECT_EQ(h.info().snd_wnd, 1000u);
  EXPECT_EQ(h.info().send_mss, 1300u);
}

// A SYN that comes again is answered again, with the same number in the same period.
TEST(SynCookie, SynAgain) {
  Script h(with(SynCookieUse::kAlways));
  h.listen();
  for (int i = 0; i < 2; ++i) {
    h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
    h.expect_tx({.flags = "SA", .seq = 0, .ack = 1});
  }
  h.after(30_s);
  h.expect_nothing();  // nobody remembers to send it again
}

TEST(SynCookie, WrongOrTooLate) {
  Script h(with(SynCookieUse::kAlways));
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  h.expect_tx({.flags = "SA", .seq = 0});
  for (const Segment& wrong : {Segment{.seq = 1, .ack = 1001}, Segment{.seq = 2, .ack = 1}}) {
    h.rx(wrong);
    h.expect_tx({.flags = "R", .seq = wrong.ack});  // (RFC9293-LIS-02)
  }
  EXPECT_EQ(h.counters().get(Drop::kTcpCookie), 2u);
  h.rx({.flags = "SA", .seq = 0, .ack = 1});
  h.expect_tx({.flags = "R"});
  h.after(SynCookies::kLifetime);
  h.rx({.seq = 1, .ack = 1});
  h.expect_tx({.flags = "R"});
  EXPECT_EQ(flows(h), 0u);
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  h.expect_tx({.flags = "SA"});
  h.rx({.seq = 1, .ack = 1});
  h.accept();
}

// What is in the accept queue bounds the connections that cookies can make.
TEST(SynCookie, AcceptQueueFull) {
  Script h(with(SynCookieUse::kAlways));
  h.listen(1);
  std::vector<std::uint32_t> ours;
  for (const std::uint16_t port : {std::uint16_t{2000}, std::uint16_t{2001}}) {
    h.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = port});
    ours.push_back(h.expect_tx({.flags = "SA"}).seq);
  }
  h.rx({.seq = 1, .ack = ours[0] + 1, .src_port = 2000});
  h.rx({.seq = 1, .ack = ours[1] + 1, .src_port = 2001});
  h.expect_nothing();
  EXPECT_EQ(h.counters().get(Drop::kTcpAcceptQueueFull), 1u);
  h.accept();
  h.rx({.seq = 1, .ack = ours[1] + 1, .src_port = 2001});  // the peer goes on
  h.accept();
}

}  // namespace
}  // namespace sluice::test
