// Whole transfers over bad links, in virtual time: every byte compared, both ends close, the same seed gives the same
// trace.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/world.h"

namespace sluice::test {
namespace {

constexpr std::uint16_t kPort = 5000;

struct Outcome {
  bool complete = false;  // all bytes there, none wrong
  bool closed = false;    // both connections are over
  double seconds = 0;     // of virtual time, to the last byte
  std::uint64_t trace = 0;
  std::uint64_t frames = 0;
};

bool connections_left(Stack& stack) {
  bool left = false;
  stack.tcp().visit_connections(
      [](void* arg, const tcp::Endpoint&, const tcp::Endpoint&, const tcp::Info& info) {
        if (info.state != tcp::State::kListen) *static_cast<bool*>(arg) = true;
      },
      &left);
  return left;
}

struct Plan {
  std::uint64_t seed = 1;
  std::uint64_t bytes = 10 << 20;
  drivers::Impairment impairment;
  Duration limit = 36000_s;
};

// The client sends, the server receives; then both close.
Outcome transfer(const Plan& plan) {
  World world(plan.seed);
  Host& server = world.add_host(plan.impairment);
  Host& client = world.add_host();  // every frame passes the server's impairment once
  const auto listener = server.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  EXPECT_TRUE(server.sockets().bind(listener, {wire::Ipv4Address{}, kPort}).has_value());
  EXPECT_TRUE(server.sockets().listen(listener, 8).has_value());
  const auto out = client.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)client.sockets().connect(out, {server.address, kPort});
  const Instant start = world.now();
  Pattern sender(client, out, plan.seed);
  socket::Handle in = -1;
  std::unique_ptr<Pattern> receiver;
  bool finished = false;
  Outcome o;
  o.complete = world.run(plan.limit, [&] {
    if (in < 0) {
      in = server.sockets().accept(listener, nullptr).value_or(-1);
      if (in >= 0) receiver = std::make_unique<Pattern>(server, in, plan.seed);
    }
    sender.send_up_to(plan.bytes);
    if (sender.sent() == plan.bytes && !finished) {
      finished = true;
      EXPECT_TRUE(client.sockets().shutdown(out, socket::Shutdown::kWrite).has_value());
    }
    if (receiver != nullptr) receiver->receive();
    return (receiver != nullptr && receiver->at_end()) || sender.error() != Errno::kOk;
  });
  o.seconds = (world.now() - start).to_seconds();
  o.complete = o.complete && receiver != nullptr && receiver->received() == plan.bytes && !receiver->wrong();
  (void)server.sockets().close(listener);
  if (in >= 0) (void)server.sockets().close(in);
  (void)client.sockets().close(out);
  o.closed = world.run(3600_s, [&] { return !connections_left(*server.stack) && !connections_left(*client.stack); });
  o.trace = world.trace();
  o.frames = server.tap->frames() + client.tap->frames();
  EXPECT_LE(server.stack->pool().in_use(), 0u);
  EXPECT_LE(client.stack->pool().in_use(), 0u);
  return o;
}

drivers::Impairment bad_link() {
  return drivers::parse_impairment("loss=10%,delay=5ms,jitter=1ms,reorder=5%:10ms,duplicate=1%,corrupt=1%").value();
}

int seeds() {
  const char* wanted = std::getenv("SLUICE_SIM_SEEDS");
  return wanted != nullptr ? std::atoi(wanted) : 10;
}

// 10 MiB at 10 % loss with reordering, duplication and corruption. SLUICE_SIM_SEEDS=200 for all.
TEST(Transfer, TenMebibytesOverABadLink) {
  for (int seed = 1; seed <= seeds(); ++seed) {
    SCOPED_TRACE(seed);
    const Outcome o = transfer({.seed = static_cast<std::uint64_t>(seed), .impairment = bad_link()});
    EXPECT_TRUE(o.complete);
    EXPECT_TRUE(o.closed);
  }
}

TEST(Transfer, SameSeedSameTrace) {
  const Plan plan{.seed = 7, .bytes = 1 << 20, .impairment = bad_link()};
  const Outcome first = transfer(plan);
  const Outcome second = transfer(plan);
  EXPECT_EQ(first.trace, second.trace);
  EXPECT_EQ(first.frames, second.frames);
  const Outcome other = transfer({.seed = 8, .bytes = 1 << 20, .impairment = bad_link()});
  EXPECT_NE(first.trace, other.trace);
}

// (RFC9293-MUST-58): over a clean link nothing is sent twice, and ACKs are fewer than segments.
TEST(Transfer, CleanLink) {
  const Outcome o = transfer({.bytes = 4 << 20, .impairment = drivers::parse_impairment("delay=1ms").value()});
  EXPECT_TRUE(o.complete);
  EXPECT_TRUE(o.closed);
  const double segments = (4 << 20) / 1448.0;
  EXPECT_LT(static_cast<double>(o.frames), segments * 1.8);
}

struct LinkRow {
  const char* name;
  const char* spec;
};

TEST(Transfer, Links) {
  const LinkRow rows[] = {
      {"burst loss", "burst=1%:20%,delay=5ms"},
      {"jitter", "delay=10ms,jitter=20ms"},
      {"heavy reordering", "delay=5ms,reorder=30%:5ms"},
      {"duplicates", "delay=5ms,duplicate=30%"},
      {"corruption", "delay=5ms,corrupt=5%"},
      {"narrow", "rate=10mbit,queue=32k,delay=10ms"},
      {"outages", "delay=5ms,down=3s:700ms"},
      {"very bad", "loss=30%,delay=2ms"},
  };
  for (const LinkRow& row : rows) {
    SCOPED_TRACE(row.name);
    const Outcome o =
        transfer({.seed = 3, .bytes = 300'000, .impairment = drivers::parse_impairment(row.spec).value()});
    EXPECT_TRUE(o.complete);
    EXPECT_TRUE(o.closed);
  }
}

// Each frame of a whole short connection is lost once, in turn: handshake, data, close.
TEST(Transfer, AnySingleFrameLost) {
  for (const int who : {0, 1}) {
    for (std::uint64_t lost = 0; lost < 16; ++lost) {
      SCOPED_TRACE(testing::Message() << "host " << who << " frame " << lost);
      World world(1);
      Host& server = world.add_host();
      Host& client = world.add_host();
      (who == 0 ? server : client).tap->drop = [lost](std::uint64_t n) { return n == lost; };
      const auto listener = server.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
      ASSERT_TRUE(server.sockets().bind(listener, {wire::Ipv4Address{}, kPort}).has_value());
      ASSERT_TRUE(server.sockets().listen(listener, 8).has_value());
      const auto out = client.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
      (void)client.sockets().connect(out, {server.address, kPort});
      Pattern sender(client, out, 1);
      socket::Handle in = -1;
      std::unique_ptr<Pattern> receiver;
      const bool done = world.run(600_s, [&] {
        if (in < 0) {
          in = server.sockets().accept(listener, nullptr).value_or(-1);
          if (in >= 0) receiver = std::make_unique<Pattern>(server, in, 1);
        }
        sender.send_up_to(5000);
        if (sender.sent() == 5000) (void)client.sockets().shutdown(out, socket::Shutdown::kWrite);
        if (receiver != nullptr) receiver->receive();
        return receiver != nullptr && receiver->at_end();
      });
      EXPECT_TRUE(done);
      if (!done) continue;
      EXPECT_EQ(receiver->received(), 5000u);
      EXPECT_FALSE(receiver->wrong());
      (void)server.sockets().close(in);
      (void)server.sockets().close(listener);
      (void)client.sockets().close(out);
      EXPECT_TRUE(
          world.run(600_s, [&] { return !connections_left(*server.stack) && !connections_left(*client.stack); }));
    }
  }
}

// A reader that takes a little now and then: the window closes, is probed, opens (RFC9293-MUST-36, -MUST-38).
TEST(Transfer, SlowReader) {
  World world(5);
  Host& server = world.add_host();
  Host& client = world.add_host();
  const auto listener = server.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  ASSERT_TRUE(server.sockets().set_option(listener, socket::Option::kReceiveBuffer, 16384).has_value());
  ASSERT_TRUE(server.sockets().bind(listener, {wire::Ipv4Address{}, kPort}).has_value());
  ASSERT_TRUE(server.sockets().listen(listener, 8).has_value());
  const auto out = client.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)client.sockets().connect(out, {server.address, kPort});
  Pattern sender(client, out, 5);
  socket::Handle in = -1;
  ASSERT_TRUE(world.run(10_s, [&] { return (in = server.sockets().accept(listener, nullptr).value_or(-1)) >= 0; }));
  Pattern receiver(server, in, 5);
  for (int i = 0; i < 2000 && receiver.received() < 200'000; ++i) {
    sender.send_up_to(200'000);
    world.run(3_s);
    receiver.receive_at_most(1000);
  }
  EXPECT_EQ(receiver.received(), 200'000u);
  EXPECT_FALSE(receiver.wrong());
  EXPECT_GT(client.stack->counters().get(Counter::kTcpZeroWindowProbes), 0u);
}

// Both ends open at once, send at once, and close in each order (RFC9293-CLOSE-05).
TEST(Transfer, ManyConnections) {
  World world(9);
  Host& server = world.add_host();
  Host& client = world.add_host();
  const auto listener = server.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  ASSERT_TRUE(server.sockets().bind(listener, {wire::Ipv4Address{}, kPort}).has_value());
  ASSERT_TRUE(server.sockets().listen(listener, 512).has_value());
  std::vector<socket::Handle> clients;
  std::vector<socket::Handle> accepted;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(client.sockets().open(ip::Family::kV4, socket::Type::kStream).value());
    (void)client.sockets().connect(clients.back(), {server.address, kPort});
  }
  EXPECT_TRUE(world.run(300_s, [&] {
    while (const auto in = server.sockets().accept(listener, nullptr)) accepted.push_back(*in);
    return accepted.size() == clients.size();
  }));
  for (std::size_t i = 0; i < accepted.size(); ++i) {
    if (i % 2 == 0) (void)server.sockets().close(accepted[i]);
    (void)client.sockets().close(clients[i]);
    if (i % 2 == 1) (void)server.sockets().close(accepted[i]);
  }
  (void)server.sockets().close(listener);
  EXPECT_TRUE(world.run(300_s, [&] { return !connections_left(*server.stack) && !connections_left(*client.stack); }));
}

// What a host knows about how to reach another one: "reachable", "stale", ...
std::string neighbor_state(Host& host, const wire::Address& address) {
  struct Search {
    wire::Address address;
    std::string state;
  } search{address, "none"};
  host.stack->ip().visit_neighbors(
      [](void* arg, const ip::NeighborEntry& entry) {
        auto* s = static_cast<Search*>(arg);
        if (entry.address == s->address) s->state = entry.state;
      },
      &search);
  return search.state;
}

// (RFC9293-MUST-20, -SHLD-10): after three retransmissions in a row without an answer IP is told that the next hop may
// be gone, and asks it.
TEST(Transfer, SilenceCastsDoubtOnTheNextHop) {
  World world(10);
  Host& server = world.add_host();
  Host& client = world.add_host();
  const auto listener = server.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  ASSERT_TRUE(server.sockets().bind(listener, {wire::Ipv4Address{}, kPort}).has_value());
  ASSERT_TRUE(server.sockets().listen(listener, 1).has_value());
  const auto out = client.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)client.sockets().connect(out, {server.address, kPort});
  world.run(10_ms);
  ASSERT_EQ(neighbor_state(client, server.address), "reachable");
  server.tap->drop = [](std::uint64_t) { return true; };
  Pattern sender(client, out, 1);
  sender.send_up_to(100);
  std::uint32_t doubted_at = 0;
  world.run(20_s, [&] {
    const bool reachable = neighbor_state(client, server.address) == "reachable";
    if (!reachable) doubted_at = client.sockets().tcp_info(out)->timeouts;
    return !reachable;
  });
  EXPECT_EQ(doubted_at, 3u);
  world.run(20_s, [&] { return neighbor_state(client, server.address) == "none"; });
  EXPECT_EQ(neighbor_state(client, server.address), "none") << "asked, and did not answer";
}

}  // namespace
}  // namespace sluice::test
