// What socket options change on the wire and in the calls, as tcp(7) and socket(7) describe it.
#include <set>

#include "stack/tcp/cc/registry.h"
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using socket::Option;

// RFC 5482, tcp(7): data that stays unacknowledged this long ends the connection (RFC9293-MUST-21), or a default time
// (RFC9293-TMO-04); not sooner, and not later because the RTO has grown.
TEST(UserTimeout, UnacknowledgedData) {
  for (const std::int64_t ms : {700, 10'000, 0}) {
    Script h;
    h.establish();
    h.set(Option::kTcpUserTimeout, ms);
    h.write("abc");
    const Duration end = ms != 0 ? Duration::millis(ms) : tcp::TcpConfig{}.r2;
    h.after(end - 1_ms);
    EXPECT_EQ(h.state(), "ESTABLISHED") << ms;
    h.after(ms != 0 ? 1_ms : 60_s);
    EXPECT_EQ(h.state(), "CLOSED") << ms;
    EXPECT_EQ(h.take_error(), Errno::kTimedOut);
  }
}

TEST(UserTimeout, Syn) {
  Script h;
  h.connect();
  h.set(Option::kTcpUserTimeout, 5000);
  h.after(4999_ms);
  EXPECT_EQ(h.state(), "SYN-SENT");
  h.after(3_s);
  EXPECT_EQ(h.state(), "CLOSED");
  EXPECT_EQ(h.take_error(), Errno::kTimedOut);
}

// With a user timeout it is the time that counts for keep-alive, not the number of probes.
TEST(UserTimeout, KeepAlive) {
  for (const std::int64_t ms : {0, 100'000}) {
    Script h;
    h.establish();
    h.set(Option::kTcpUserTimeout, ms);
    h.set(Option::kTcpKeepIdle, 10);
    h.set(Option::kTcpKeepInterval, 10);
    h.set(Option::kTcpKeepCount, 3);
    h.set(Option::kKeepAlive, 1);
    h.after(39_s);
    EXPECT_EQ(h.state(), "ESTABLISHED");
    h.after(2_s);
    EXPECT_EQ(h.state(), ms == 0 ? "CLOSED" : "ESTABLISHED");
    h.after(60_s);
    EXPECT_EQ(h.state(), "CLOSED");
    EXPECT_EQ(h.counters().get(Counter::kTcpKeepAlives), ms == 0 ? 3u : 9u);
  }
}

// IP_MTU_DISCOVER as on Linux: a stream of anything but IP_PMTUDISC_WANT and _DO has no DF, and is as large as what is
// known of the path.
TEST(MtuDiscover, DecidesAboutDontFragment) {
  for (std::int64_t use = 0; use < ip::kPathMtuUses; ++use) {
    Script h;
    h.establish();
    h.set(Option::kIpMtuDiscover, use);
    EXPECT_EQ(h.stack().sockets().get_option(h.handle(), Option::kIpMtuDiscover).value(), use);
    h.write(std::string(1460, 'x'));
    EXPECT_EQ(h.expect_tx({.size = 1460}).dont_fragment, use == 1 || use == 2) << use;
    h.rx_icmp(3, 4, 1000, {.seq = 1});
    EXPECT_EQ(h.info().send_mss, 960u);
  }
  Script h;
  h.establish();
  for (const std::int64_t none : {-1, 6}) {
    EXPECT_EQ(h.stack().sockets().set_option(h.handle(), Option::kIpMtuDiscover, none).error(), Errno::kInvalid);
  }
  EXPECT_EQ(h.stack().sockets().get_option(h.handle(), Option::kIpMtuDiscover).value(), 1);
}

TEST(SynCount, LimitsRetransmissions) {
  for (const int count : {1, 2, 4}) {
    Script h;
    h.connect();
    h.set(Option::kTcpSynCount, count);
    h.after(300_s);
    int syns = 0;
    while (const auto sent = h.next_tx()) syns += sent->flags == "S" ? 1 : 0;
    EXPECT_EQ(syns, 1 + count);
    EXPECT_EQ(h.take_error(), Errno::kTimedOut);
  }
}

// tcp(7): on for a while, beginning with what waits; off until then.
TEST(QuickAck, OnAndOff) {
  ScriptOptions o;
  o.tcp.quick_acks = 0;
  Script h(o);
  h.establish();
  h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "a"});
  h.expect_nothing();
  h.set(Option::kTcpQuickAck, 1);
  h.expect_tx({.flags = "A", .ack = 2});
  EXPECT_TRUE(h.info().quick_ack);
  std::uint32_t seq = 2;
  for (int i = 0; i < 16; ++i, ++seq) {
    h.rx({.flags = "PA", .seq = seq, .ack = 1, .payload = "a"});
    h.expect_tx({.flags = "A", .ack = seq + 1});
  }
  h.rx({.flags = "PA", .seq = seq, .ack = 1, .payload = "a"});
  h.expect_nothing();
  h.after(40_ms);
  h.expect_tx({.flags = "A", .ack = seq + 1});
  h.set(Option::kTcpQuickAck, 1);
  h.set(Option::kTcpQuickAck, 0);
  h.rx({.flags = "PA", .seq = seq + 1, .ack = 1, .payload = "a"});
  h.expect_nothing();
}

TEST(FinWait2, Linger2) {
  struct Row {
    std::int64_t option;
    Duration lasts;
  };
  for (const Row& row : {Row{0, 60_s}, Row{5, 5_s}, Row{1000, 120_s}}) {
    Script h;
    h.establish();
    h.set(Option::kTcpLinger2, row.option);
    h.close();
    h.expect_tx({.flags = "FA"});
    h.rx({.seq = 1, .ack = 2});
    h.after(row.lasts - 1_ms);
    EXPECT_EQ(h.state(), "FIN-WAIT-2");
    h.after(1_ms);
    EXPECT_EQ(h.state(), "CLOSED");
    h.expect_nothing();
  }
}

TEST(FinWait2, NoneAtAll) {
  for (const bool shut_before : {false, true}) {
    Script h;
    h.establish();
    h.set(Option::kTcpLinger2, -1);
    if (shut_before) {
      h.shutdown_write();
      h.rx({.seq = 1, .ack = 2});
      h.close();
    } else {
      h.close();
      h.rx({.seq = 1, .ack = 2});
    }
    h.expect_tx({.flags = "FA"});
    h.expect_tx({.flags = "RA"});
    EXPECT_EQ(h.state(), "CLOSED");
  }
}

// tcp(7): the listener hears of a connection when data has come, or when the time is over and the peer answers once
// more.
TEST(DeferAccept, WaitsForData) {
  Script h;
  h.listen();
  h.set_listener(Option::kTcpDeferAccept, 3);
  h.rx({.flags = "S", .seq = 0, .ack = 0});
  h.expect_tx({.flags = "SA"});
  h.rx({.seq = 1, .ack = 1});
  EXPECT_FALSE(h.acceptable());
  EXPECT_EQ(h.counters().get(Drop::kTcpDeferred), 1u);
  h.after(900_ms);
  h.expect_nothing();
  h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "GET"});
  h.accept();
  EXPECT_EQ(h.read(), "GET");
}

TEST(DeferAccept, TimeIsOver) {
  Script h;
  h.listen();
  h.set_listener(Option::kTcpDeferAccept, 3);
  h.rx({.flags = "S", .seq = 0, .ack = 0});
  h.expect_tx({.flags = "SA"});
  h.rx({.seq = 1, .ack = 1});
  EXPECT_EQ(h.until_tx(10_s), 3_s);  // not sent again while data is waited for
  h.expect_tx({.flags = "SA"});
  EXPECT_FALSE(h.acceptable());
  h.rx({.seq = 1, .ack = 1});
  h.accept();
}

// A FIN is a reason to accept too.
TEST(DeferAccept, Fin) {
  Script h;
  h.listen();
  h.set_listener(Option::kTcpDeferAccept, 3);
  h.rx({.flags = "S", .seq = 0, .ack = 0});
  h.expect_tx({.flags = "SA"});
  h.rx({.flags = "FA", .seq = 1, .ack = 1});
  h.accept();
  EXPECT_TRUE(h.at_eof());
}

// What has not been sent yet is bounded, whatever the size of the buffer.
TEST(NotsentLowWater, BoundsTheQueue) {
  for (const bool for_all : {false, true}) {
    ScriptOptions o;
    if (for_all) o.tcp.notsent_low = 10'000;
    Script h(o);
    h.establish();
    if (!for_all) h.set(Option::kTcpNotsentLowWater, 10'000);
    EXPECT_EQ(h.write(std::string(100'000, 'x')), Errno::kAgain);
    EXPECT_EQ(h.info().unsent, 10'000u);
    EXPECT_EQ(h.write("y"), Errno::kAgain);
    EXPECT_FALSE(any(h.ready() & socket::Ready::kOut));
    std::uint32_t highest = 1;
    while (const auto sent = h.next_tx()) highest = sent->seq + static_cast<std::uint32_t>(sent->payload.size());
    EXPECT_EQ(highest, 1 + 10 * 1460u);
    h.rx({.seq = 1, .ack = highest});
    EXPECT_TRUE(any(h.ready() & socket::Ready::kOut));
    h.set(Option::kTcpNotsentLowWater, 1 << 20);
    EXPECT_EQ(h.write(std::string(100'000, 'x')), Errno::kOk);
  }
}

TEST(WindowClamp, BoundsTheOffer) {
  Script h;
  h.listen();
  h.set_listener(Option::kTcpWindowClamp, 5000);
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  h.expect_tx({.flags = "SA", .win = 5000});
  h.rx({.seq = 1, .ack = 1});
  h.accept();
  for (std::uint32_t seq = 1; seq < 30'000; seq += 1000) {
    h.rx({.flags = "PA", .seq = seq, .ack = 1, .payload = std::string(1000, 'x')});
    h.read();
    while (const auto sent = h.next_tx()) EXPECT_LE(sent->win, 5000u);
  }
  EXPECT_EQ(h.info().bytes_received, 30'000u);
}

// (RFC9293-MAY-16)
TEST(Cork, AndMore) {
  Script h;
  h.establish();
  h.set(Option::kTcpNoDelay, 1);
  h.set(Option::kTcpCork, 1);
  h.write("abc");
  h.expect_nothing();
  h.write(std::string(1500, 'x'));
  h.expect_tx({.flags = "A", .size = 1460});
  h.expect_nothing();
  h.set(Option::kTcpCork, 0);
  h.expect_tx({.flags = "PA", .size = 43});
  h.write("again");
  h.expect_tx({.payload = "again"});
  h.rx({.seq = 1, .ack = 1509});
  h.set(Option::kTcpCork, 1);
  h.write("not for ever");
  EXPECT_EQ(h.until_tx(1_s), 200_ms);  // tcp(7)
}

// --- facts about a connection

// (RFC9293-STATUS-01)
TEST(Info, CountsAndTimes) {
  Script h;
  h.establish();
  h.write(std::string(3000, 'x'));
  h.after(20_ms);
  h.rx({.flags = "PA", .seq = 1, .ack = 2921, .payload = "abc"});
  h.after(30_ms);
  const tcp::Info info = h.info();
  EXPECT_EQ(info.state, tcp::State::kEstablished);
  EXPECT_EQ(info.snd_wnd, 65535u);
  EXPECT_GT(info.rcv_wnd, 0u);
  EXPECT_GE(info.rto, 200_ms);
  EXPECT_EQ(info.bytes_sent, 3000u);
  EXPECT_EQ(info.bytes_acked, 2920u);
  EXPECT_EQ(info.bytes_received, 3u);
  EXPECT_EQ(info.data_segments_out, 3u);
  EXPECT_EQ(info.data_segments_in, 1u);
  EXPECT_EQ(info.segments_in, 2u);
  EXPECT_EQ(info.segments_out, 4u);  // with an ACK for "abc"
  EXPECT_EQ(info.flight, 80u);
  EXPECT_EQ(info.unsent, 0u);
  EXPECT_EQ(info.since_data_sent, 50_ms);
  EXPECT_EQ(info.since_data_received, 30_ms);
  EXPECT_EQ(info.since_ack_received, 30_ms);
  EXPECT_EQ(info.path_mtu, 1500u);
  EXPECT_EQ(info.advertised_mss, 1460u);
  EXPECT_EQ(info.min_rtt, Duration::micros(1));  // the handshake took no time
}

// --- ports

class SharedPort : public testing::Test {
 protected:
  socket::Handle open(std::initializer_list<Option> options) {
    const socket::Handle s = sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    for (const Option option : options) EXPECT_TRUE(sockets().set_option(s, option, 1));
    return s;
  }
  Errno bind(socket::Handle s, std::uint32_t address = 0) {
    const Status bound = sockets().bind(s, {wire::Ipv4Address{address}, 80});
    return bound ? Errno::kOk : bound.error();
  }
  Errno listen(socket::Handle s) {
    const Status listening = sockets().listen(s, 64);
    return listening ? Errno::kOk : listening.error();
  }
  socket::Sockets& sockets() { return h_.stack().sockets(); }
  Script h_;
};

TEST_F(SharedPort, WhoMayBind) {
  using Options = std::initializer_list<Option>;
  struct Row {
    Options first, second;
    bool first_listens;
    Errno bound;
  };
  const Row rows[] = {
      {{}, {}, false, Errno::kAddressInUse},
      {{Option::kReuseAddress}, {Option::kReuseAddress}, false, Errno::kOk},
      {{Option::kReuseAddress}, {Option::kReuseAddress}, true, Errno::kAddressInUse},
      {{Option::kReuseAddress}, {}, false, Errno::kAddressInUse},
      {{Option::kReusePort}, {Option::kReusePort}, true, Errno::kOk},
      {{Option::kReusePort}, {Option::kReuseAddress}, false, Errno::kAddressInUse},
      {{Option::kReusePort}, {}, false, Errno::kAddressInUse},
      {{Option::kReusePort, Option::kReuseAddress}, {Option::kReusePort}, true, Errno::kOk},
  };
  for (const Row& row : rows) {
    const auto first = open(row.first), second = open(row.second);
    EXPECT_EQ(bind(first), Errno::kOk);
    if (row.first_listens) {
      EXPECT_EQ(listen(first), Errno::kOk);
    }
    EXPECT_EQ(bind(second), row.bound) << &row - rows;
    EXPECT_TRUE(sockets().close(first));
    EXPECT_TRUE(sockets().close(second));
  }
}

// Two that have bound for reuse may not both listen; on different addresses they may.
TEST_F(SharedPort, WhoMayListen) {
  const auto first = open({Option::kReuseAddress}), second = open({Option::kReuseAddress});
  EXPECT_EQ(bind(first), Errno::kOk);
  EXPECT_EQ(bind(second), Errno::kOk);
  EXPECT_EQ(listen(first), Errno::kOk);
  EXPECT_EQ(listen(second), Errno::kAddressInUse);
  EXPECT_TRUE(sockets().close(first));
  EXPECT_EQ(listen(second), Errno::kOk);
}

// All get their share, by the 4-tuple: a SYN that comes again goes to the same one.
TEST_F(SharedPort, ListenersShareConnections) {
  std::vector<socket::Handle> listeners;
  for (int i = 0; i < 4; ++i) {
    listeners.push_back(open({Option::kReusePort}));
    EXPECT_EQ(bind(listeners.back()), Errno::kOk);
    EXPECT_EQ(listen(listeners.back()), Errno::kOk);
  }
  constexpr int kClients = 128;
  for (std::uint16_t port = 2000; port < 2000 + kClients; ++port) {
    h_.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = port});
    const Segment answer = h_.expect_tx({.flags = "SA"});
    h_.rx({.seq = 1, .ack = answer.seq + 1, .src_port = port});
  }
  int all = 0;
  for (const socket::Handle listener : listeners) {
    int own = 0;
    while (sockets().accept(listener, nullptr)) ++own;
    EXPECT_GE(own, kClients / 8);
    EXPECT_LE(own, kClients / 2);
    all += own;
  }
  EXPECT_EQ(all, kClients);
}

// socket(7): a server that starts again finds connections of its predecessor, and needs SO_REUSEADDR.
TEST(ReuseAddress, OverConnectionsAndTimeWait) {
  Script h;
  h.establish();
  h.stop_listening();
  auto& sockets = h.stack().sockets();
  const ip::Endpoint local{wire::Ipv4Address{}, 80};
  const auto plain = sockets.open(ip::Family::kV4, socket::Type::kStream).value();
  const auto reuse = sockets.open(ip::Family::kV4, socket::Type::kStream).value();
  EXPECT_TRUE(sockets.set_option(reuse, Option::kReuseAddress, 1));
  EXPECT_FALSE(sockets.bind(plain, local));
  h.close();
  h.expect_tx({.flags = "FA"});
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.expect_tx({.flags = "A"});
  EXPECT_EQ(h.state(), "TIME-WAIT");
  EXPECT_EQ(sockets.bind(plain, local).error(), Errno::kAddressInUse);
  EXPECT_TRUE(sockets.bind(reuse, local));
  EXPECT_TRUE(sockets.listen(reuse, 1));
  EXPECT_TRUE(sockets.close(reuse));
  h.after(61_s);
  EXPECT_TRUE(sockets.bind(plain, local));
}

// (RFC6056-02): when all ports to a peer are taken that is an error; one that is given back is found again.
TEST(EphemeralPorts, Exhausted) {
  ScriptOptions o;
  o.tcp.port_first = 1000;
  o.tcp.port_last = 1019;
  Script h(o);
  auto& sockets = h.stack().sockets();
  std::vector<socket::Handle> all;
  const auto connect = [&](std::uint16_t to) {
    all.push_back(sockets.open(ip::Family::kV4, socket::Type::kStream).value());
    return sockets.connect(all.back(), {wire::Ipv4Address{kPeerAddress}, to}).error();
  };
  for (int i = 0; i < 20; ++i) EXPECT_EQ(connect(7), Errno::kInProgress);
  EXPECT_EQ(connect(7), Errno::kAddressNotAvailable);
  EXPECT_EQ(connect(7), Errno::kAddressNotAvailable);
  EXPECT_EQ(connect(8), Errno::kInProgress);  // to another peer all are free
  EXPECT_EQ(connect(7), Errno::kAddressNotAvailable);
  EXPECT_TRUE(sockets.close(all[5]));
  EXPECT_EQ(connect(7), Errno::kInProgress);
  EXPECT_EQ(connect(7), Errno::kAddressNotAvailable);
}

// (RFC9293-MAY-18): which congestion control rules is chosen by the user, also while the connection is there.
TEST(Congestion, IsChosen) {
  Script h;
  h.establish();
  for (std::uint8_t i = 1; tcp::cc::name_at(i) != nullptr; ++i) {
    h.set(Option::kTcpCongestion, i);
    EXPECT_STREQ(h.info().congestion, tcp::cc::name_at(i));
  }
  EXPECT_STREQ(h.info().congestion, "dctcp");
  EXPECT_FALSE(h.stack().sockets().set_option(h.handle(), Option::kTcpCongestion, 100).has_value());
}

}  // namespace
}  // namespace sluice::test
