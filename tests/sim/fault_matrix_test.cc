// Connections over links that are bad in every way at once, each seed another mixture: loss, bursts, outages,
// reordering, jitter, duplicates, bit errors, narrow links, path MTUs that fall in the middle, readers that pause,
// small buffers, every order of closing, mechanisms on and off. No byte is wrong, no connection is stuck, and the same
// seed gives the same trace. SLUICE_FAULT_SEEDS=10000 runs that many seeds.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>

#include "stack/tcp/cc/registry.h"
#include "tests/support/world.h"

namespace sluice::test {
namespace {

using tcp::Switch;

constexpr std::uint16_t kPort = 5000;

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : rng_(seed_of(seed)) {}
  bool one_in(std::uint32_t n) { return rng_.below(n) == 0; }
  std::uint32_t from(std::uint32_t least, std::uint32_t most) { return least + rng_.below(most - least + 1); }
  double up_to(double most) { return rng_.next_double() * most; }
  Duration millis(std::uint32_t most) { return Duration::millis(from(0, most)); }

 private:
  static Rng::Seed seed_of(std::uint64_t seed) {
    Rng::Seed bytes{};
    for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(seed >> (8 * i));
    return bytes;
  }
  Rng rng_;
};

// Half of the kinds of harm, at random, are absent.
drivers::Impairment harm(Dice& dice) {
  drivers::Impairment i;
  i.delay = dice.millis(50);
  if (dice.one_in(2)) i.loss = dice.up_to(0.3);
  if (dice.one_in(4)) i.burst_enter = dice.up_to(0.02), i.burst_leave = 0.1 + dice.up_to(0.5);
  if (dice.one_in(2)) i.reorder = dice.up_to(0.3), i.reorder_delay = dice.millis(40);
  if (dice.one_in(2)) i.duplicate = dice.up_to(0.2);
  if (dice.one_in(2)) i.corrupt = dice.up_to(0.05);
  if (dice.one_in(2)) i.jitter = dice.millis(30);
  if (dice.one_in(4)) i.down_every = 3_s + dice.millis(5000), i.down_for = dice.millis(2000);
  if (dice.one_in(3)) i.rate = dice.from(1, 50) * 1'000'000ull, i.queue = dice.from(4, 64) * 1024ull;
  return i;
}

StackConfig mechanisms(Dice& dice) {
  StackConfig c;
  c.tcp.r2 = c.tcp.r2_syn = 100'000_s;  // patience: an outage is not what is tried here
  for (Switch tcp::TcpConfig::*s :
       {&tcp::TcpConfig::timestamps, &tcp::TcpConfig::window_scaling, &tcp::TcpConfig::sack, &tcp::TcpConfig::dsack,
        &tcp::TcpConfig::rack, &tcp::TcpConfig::tail_probe, &tcp::TcpConfig::prr, &tcp::TcpConfig::frto,
        &tcp::TcpConfig::undo, &tcp::TcpConfig::limited_transmit, &tcp::TcpConfig::delayed_ack}) {
    if (dice.one_in(5)) c.tcp.*s = Switch::kOff;
  }
  if (dice.one_in(3)) c.tcp.ecn = dice.one_in(2) ? tcp::EcnUse::kAccurate : tcp::EcnUse::kClassic;
  if (dice.one_in(2)) c.tcp.ecn_answer = tcp::EcnUse::kAccurate;
  if (dice.one_in(3)) c.tcp.pacing = Switch::kOn;
  c.tcp.congestion = static_cast<std::uint8_t>(dice.from(1, tcp::cc::count()));
  if (dice.one_in(4)) c.tcp.syn_cookies = tcp::SynCookieUse::kAlways;
  if (dice.one_in(3)) c.tcp.receive_buffer = c.tcp.max_receive_buffer = dice.from(2048, 65535);
  if (dice.one_in(3)) c.tcp.send_buffer = c.tcp.max_send_buffer = dice.from(2048, 65535);
  return c;
}

// One end: it sends its bytes and reads the other's, closes its direction when it likes to, and both in the end.
struct End {
  Host* host = nullptr;
  socket::Handle handle = -1;
  std::unique_ptr<Pattern> sender, receiver;
  std::uint64_t to_send = 0, to_receive = 0;
  bool waits = false;        // for the other's end of data before it ends its own
  std::uint32_t pauses = 1;  // reads in one of so many turns
  std::size_t most = 65536;  // bytes at a time
  Instant next_read{};
  bool ended = false;
  bool connected = false;
  std::array<std::uint64_t, 2> numbers{};

  void begin(socket::Handle h, std::uint64_t sends, std::uint64_t receives) {
    handle = h;
    numbers = {sends, receives};
    sender = std::make_unique<Pattern>(*host, h, sends);
    receiver = std::make_unique<Pattern>(*host, h, receives);
  }
  // Nobody answered when it asked for the other's MAC, or the other end has given up its half of the handshake: it
  // tries again, as a user would.
  void connect(const ip::Endpoint& peer, bool accepted) {
    const socket::Ready ready = host->sockets().ready(handle);
    const bool failed =
        socket::any(ready & socket::Ready::kError) || receiver->error() != Errno::kOk || sender->error() != Errno::kOk;
    if (!failed) connected = connected || socket::any(ready & socket::Ready::kOut);
    if (!failed || accepted) return;
    connected = ended = false;
    (void)host->sockets().close(handle);
    handle = host->sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    (void)host->sockets().connect(handle, peer);
    begin(handle, numbers[0], numbers[1]);
  }
  void turn(Dice& dice, Instant now) {
    if (!connected) return;
    sender->send_up_to(to_send);
    const bool readable = socket::any(host->sockets().ready(handle) & socket::Ready::kIn);
    if (readable && now >= next_read && !receiver->at_end()) {
      receiver->receive_at_most(most);
      if (pauses > 1 && dice.one_in(pauses)) next_read = now + dice.millis(3000);
    }
    if (ended || sender->sent() < to_send || (waits && !receiver->at_end())) return;
    ended = host->sockets().shutdown(handle, socket::Shutdown::kWrite).has_value();
  }
  [[nodiscard]] bool done() const { return ended && receiver->at_end(); }
};

struct Outcome {
  bool complete = false;
  bool right = true;
  bool closed = false;
  std::uint64_t trace = 0;
};

bool connections_left(Stack& stack) {
  bool left = false;
  stack.tcp().visit_connections(
      [](void* arg, const tcp::Endpoint&, const tcp::Endpoint&, const tcp::Info&) { *static_cast<bool*>(arg) = true; },
      &left);
  return left;
}

Outcome run(std::uint64_t seed) {
  Dice dice(seed);
  World world(seed, dice.one_in(3) ? dice.from(600, 1500) : 1500);
  std::array<End, 2> ends;
  const StackConfig server_mechanisms = mechanisms(dice);
  const bool cookies = server_mechanisms.tcp.syn_cookies == tcp::SynCookieUse::kAlways;
  for (End& e : ends) {
    drivers::Impairment link = harm(dice);
    // When the first thing that comes after a cookie is not the end of the handshake or the first data, the answer is
    // RST: nothing is known of its SYN.
    if (cookies) {
      drivers::Impairment gentle;
      gentle.delay = link.delay;
      gentle.jitter = link.jitter;
      gentle.duplicate = link.duplicate;
      link = gentle;
    }
    e.host = &world.add_host(link, &e == ends.data() ? server_mechanisms : mechanisms(dice));
    e.to_send = dice.one_in(6) ? 0 : dice.from(1, 60'000);
    e.waits = dice.one_in(3);
    if (dice.one_in(3)) e.pauses = dice.from(2, 20);
    if (dice.one_in(3)) e.most = dice.from(1, 3000);
  }
  if (ends[0].waits) ends[1].waits = false;  // one must begin to end
  // The client speaks: when the last ACK of the handshake is lost, the server has nothing to send again for ever.
  ends[1].to_send = std::max<std::uint64_t>(ends[1].to_send, 1);
  ends[0].to_receive = ends[1].to_send;
  ends[1].to_receive = ends[0].to_send;
  const Instant narrows = world.now() + dice.millis(2000);
  const std::uint32_t narrow = dice.one_in(3) ? dice.from(576, 1400) : 0;

  Host& server = *ends[0].host;
  Host& client = *ends[1].host;
  const auto listener = server.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  EXPECT_TRUE(server.sockets().bind(listener, {wire::Ipv4Address{}, kPort}).has_value());
  EXPECT_TRUE(server.sockets().listen(listener, 8).has_value());
  const auto out = client.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)client.sockets().connect(out, {server.address, kPort});
  ends[1].begin(out, 2 * seed, 2 * seed + 1);
  bool narrowed = narrow == 0;
  Outcome o;
  const auto turn = [&] {
    if (!narrowed && world.now() >= narrows) {  // what a router says is believed, at both ends
      narrowed = true;
      server.stack->ip().accept_path_mtu(client.address, narrow);
      client.stack->ip().accept_path_mtu(server.address, narrow);
    }
    if (ends[0].handle < 0) {
      const auto in = server.sockets().accept(listener, nullptr);
      if (in) ends[0].begin(*in, 2 * seed + 1, 2 * seed), ends[0].connected = true;
    }
    ends[1].connect({server.address, kPort}, ends[0].handle >= 0);
    ends[1].turn(dice, world.now());
    if (ends[0].handle >= 0) ends[0].turn(dice, world.now());
    return ends[0].handle >= 0 && ends[0].done() && ends[1].done();
  };
  // In slices: readers that pause wake up by themselves, which the world does not know.
  const Instant last = world.now() + 100'000_s;
  while (!o.complete && world.now() < last) o.complete = world.run(100_ms, turn);
  for (const End& e : ends) {
    o.right = o.right && e.receiver != nullptr && !e.receiver->wrong() && e.receiver->received() == e.to_receive &&
              e.receiver->error() == Errno::kOk && e.sender->error() == Errno::kOk;
  }
  const bool server_first = dice.one_in(2);
  (void)server.sockets().close(listener);
  if (server_first && ends[0].handle >= 0) (void)server.sockets().close(ends[0].handle);
  if (dice.one_in(2)) world.run(dice.millis(500));
  (void)client.sockets().close(ends[1].handle);
  if (!server_first && ends[0].handle >= 0) (void)server.sockets().close(ends[0].handle);
  o.closed = world.run(200'000_s, [&] { return !connections_left(*server.stack) && !connections_left(*client.stack); });
  world.run(120_s);  // what waits for a neighbour to answer is given up
  o.trace = world.trace();
  EXPECT_EQ(server.stack->pool().in_use(), 0u);
  EXPECT_EQ(client.stack->pool().in_use(), 0u);
  return o;
}

int seeds() {
  const char* wanted = std::getenv("SLUICE_FAULT_SEEDS");
  return wanted != nullptr ? std::atoi(wanted) : 100;
}

TEST(FaultMatrix, EveryByteRightAndNothingStuck) {
  for (int seed = 1; seed <= seeds(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Outcome o = run(static_cast<std::uint64_t>(seed));
    EXPECT_TRUE(o.complete);
    EXPECT_TRUE(o.right);
    EXPECT_TRUE(o.closed);
    if (seed % 10 == 0) {
      EXPECT_EQ(run(static_cast<std::uint64_t>(seed)).trace, o.trace);
    }
  }
}

}  // namespace
}  // namespace sluice::test
