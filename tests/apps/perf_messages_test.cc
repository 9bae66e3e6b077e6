// The messages of a throughput test: as an iperf3 writes them, and as an enemy would.
#include "apps/perf_messages.h"

#include <gtest/gtest.h>

#include <array>

namespace sluice::apps::perf {
namespace {

TEST(Parameters, AsIperf3SendsThem) {
  const auto tcp = parse_parameters(R"({"tcp":true,"omit":1,"time":2,"num":0,"blockcount":0,"parallel":2,"len":131072,
      "nodelay":true,"pacing_timer":1000,"client_version":"3.12"})");
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->protocol, Protocol::kTcp);
  EXPECT_EQ(tcp->direction, Direction::kUpload);
  EXPECT_EQ(tcp->seconds, 2);
  EXPECT_EQ(tcp->omit, 1);
  EXPECT_EQ(tcp->parallel, 2u);
  EXPECT_EQ(tcp->length, 131072u);
  EXPECT_EQ(tcp->rate, 0u);
  EXPECT_TRUE(tcp->no_delay);
  const auto udp = parse_parameters(R"({"udp":true,"omit":0,"time":0,"num":1048576,"blockcount":0,"parallel":1,
      "reverse":true,"len":1448,"bandwidth":10000000,"pacing_timer":1000,"udp_counters_64bit":1,"client_version":"3.12"})");
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->protocol, Protocol::kUdp);
  EXPECT_EQ(udp->direction, Direction::kDownload);
  EXPECT_EQ(udp->bytes, 1048576u);
  EXPECT_EQ(udp->rate, 10'000'000u);
  EXPECT_TRUE(udp->wide_counters);
  EXPECT_FALSE(udp->no_delay);
}

TEST(Parameters, SurviveTheWay) {
  Parameters sent;
  sent.protocol = Protocol::kUdp;
  sent.direction = Direction::kBoth;
  sent.seconds = 2.5;
  sent.parallel = 128;
  sent.length = 1448;
  sent.rate = 20'000'000;
  sent.wide_counters = true;
  const auto got = parse_parameters(to_json(sent));
  ASSERT_TRUE(got);
  EXPECT_EQ(to_json(*got), to_json(sent));
  EXPECT_EQ(got->direction, Direction::kBoth);
  EXPECT_EQ(got->seconds, 2.5);
}

TEST(Parameters, Refused) {
  struct Row {
    const char* json;
    std::int32_t reason;
  };
  for (const Row& row : {
           Row{"", 13},
           Row{"{", 13},
           Row{"[]", 13},
           Row{"7", 13},
           Row{"null", 13},
           Row{"\"tcp\"", 13},
           Row{"{\"time\":1}x", 13},
           Row{"{\"tcp\":\"\xff\"}", 13},
           Row{R"({"time":-1})", 5},
           Row{R"({"time":86401})", 5},
           Row{R"({"time":"1"})", 5},
           Row{R"({"time":[1]})", 5},
           Row{R"({"parallel":0})", 6},
           Row{R"({"parallel":129})", 6},
           Row{R"({"parallel":-1})", 6},
           Row{R"({"parallel":18446744073709551615})", 6},
           Row{R"({"parallel":1e300})", 6},
           Row{R"({"len":0})", 7},
           Row{R"({"len":1048577})", 7},
           Row{R"({"len":4294967297})", 7},
           Row{R"({"udp":true,"len":65508})", 7},
           Row{R"({"udp":true,"len":11})", 7},
           Row{R"({"udp":true,"len":15,"udp_counters_64bit":1})", 7},
           Row{R"({"len":{}})", 7},
           Row{R"({"omit":-1})", 12},
           Row{R"({"omit":601})", 12},
           Row{R"({"num":-1})", 13},
           Row{R"({"num":1e30})", 13},
           Row{R"({"bandwidth":-5})", 13},
           Row{R"({"bandwidth":1e13})", 13},
           Row{R"({"sctp":true})", 13},
           Row{R"({"authtoken":"x"})", 13},
           Row{R"({"MSS":40000})", 13},
       }) {
    const auto got = parse_parameters(row.json);
    ASSERT_FALSE(got) << row.json;
    EXPECT_EQ(got.error().reason, row.reason) << row.json;
    EXPECT_FALSE(got.error().what.empty()) << row.json;
  }
}

TEST(Parameters, DepthIsNoTrap) {
  const std::string deep = "{\"time\":" + std::string(500'000, '[') + std::string(500'000, ']') + "}";
  EXPECT_FALSE(parse_parameters(deep));
}

TEST(Results, AsIperf3SendsThem) {
  // A receiver of 3.12 says -1 retransmissions, which reads as the largest unsigned number.
  const auto r = parse_results(R"({"cpu_util_total":2.5,"cpu_util_user":0,"cpu_util_system":2.5,
      "sender_has_retransmits":18446744073709551615,"congestion_used":"bbr","streams":[
      {"id":1,"bytes":131072,"retransmits":18446744073709551615,"jitter":4.7e-06,"errors":3,"packets":4,"start_time":0,
       "end_time":1.000183},
      {"id":3,"bytes":7,"retransmits":1.8446744073709552e+19,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":1},
      {"id":4,"bytes":7,"retransmits":-1,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":1},
      {"id":5,"bytes":7,"retransmits":12,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":1}]})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->cpu.total, 2.5);
  EXPECT_EQ(r->congestion, "bbr");
  ASSERT_EQ(r->streams.size(), 4u);
  EXPECT_EQ(r->streams[0].bytes, 131072u);
  EXPECT_EQ(r->streams[0].lost, 3u);
  EXPECT_EQ(r->streams[0].packets, 4u);
  EXPECT_DOUBLE_EQ(r->streams[0].jitter, 4.7e-6);
  EXPECT_DOUBLE_EQ(r->streams[0].end, 1.000183);
  EXPECT_FALSE(r->streams[0].retransmits);
  EXPECT_FALSE(r->streams[1].retransmits);
  EXPECT_FALSE(r->streams[2].retransmits);
  EXPECT_EQ(r->streams[3].retransmits, 12u);
}

TEST(Results, SurviveTheWay) {
  Results sent;
  sent.cpu = {50, 20, 30};
  sent.congestion = "newreno";
  sent.streams = {{1, 1ull << 40, 7, 0, 0, 0, 0, 10.5}, {3, 9, {}, 0.002, 12, 3, 0, 10.5}};
  const auto got = parse_results(to_json(sent));
  ASSERT_TRUE(got);
  EXPECT_EQ(to_json(*got), to_json(sent));
  EXPECT_EQ(got->streams[0].bytes, 1ull << 40);
  EXPECT_EQ(got->streams[1].lost, 3u);
}

TEST(Results, Refused) {
  const auto with_stream = [](const std::string& stream) { return "{\"streams\":[" + stream + "]}"; };
  std::string many = R"({"id":1,"bytes":1})";
  for (int i = 0; i < 256; ++i) many += R"(,{"id":1,"bytes":1})";
  for (const std::string& json : {
           std::string(),
           std::string("{"),
           std::string("[]"),
           std::string("{}"),
           std::string(R"({"streams":{}})"),
           std::string(R"({"streams":7})"),
           with_stream("7"),
           with_stream("{}"),
           with_stream(R"({"id":1})"),
           with_stream(R"({"bytes":1})"),
           with_stream(R"({"id":1,"bytes":-1})"),
           with_stream(R"({"id":1,"bytes":"1"})"),
           with_stream(R"({"id":-1,"bytes":1})"),
           with_stream(R"({"id":1e10,"bytes":1})"),
           with_stream(R"({"id":1,"bytes":1e30})"),
           with_stream(R"({"id":1,"bytes":1,"end_time":1e300})"),
           with_stream(R"({"id":1,"bytes":1,"errors":-4})"),
           with_stream(R"({"id":1,"bytes":1,"packets":[]})"),
           with_stream(many),
           std::string(R"({"cpu_util_total":"x","streams":[]})"),
       }) {
    EXPECT_FALSE(parse_results(json)) << json.substr(0, 100);
  }
  EXPECT_TRUE(parse_results(R"({"streams":[]})"));
  EXPECT_TRUE(parse_results(R"({"cpu_util_total":null,"streams":[]})"));  // a NaN of theirs
  EXPECT_EQ(parse_results(R"({"congestion_used":")" + std::string(1000, 'x') + R"(","streams":[]})")->congestion.size(),
            32u);
}

TEST(StreamId, LeavesOutTheTwo) {
  EXPECT_EQ(stream_id(0), 1);
  EXPECT_EQ(stream_id(1), 3);
  EXPECT_EQ(stream_id(2), 4);
}

TEST(Cookie, ThirtySixCharactersAndANul) {
  const std::string cookie = make_cookie(0x0123456789abcdef, 0xfedcba9876543210);
  ASSERT_EQ(cookie.size(), kCookieSize);
  EXPECT_EQ(cookie.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567"), kCookieSize - 1);
  EXPECT_EQ(cookie.back(), '\0');
  EXPECT_NE(make_cookie(1, 2), make_cookie(1, 3));
  EXPECT_NE(make_cookie(1, 2), make_cookie(2, 2));
}

TEST(Greeting, OnTheWire) {
  EXPECT_EQ(greeting(), (Greeting{'9', '8', '7', '6'}));
  EXPECT_EQ(answer_to_greeting(), (Greeting{'6', '7', '8', '9'}));
  const std::array<std::uint8_t, 4> older = {0x15, 0xcd, 0x5b, 0x07};         // 123456789
  const std::array<std::uint8_t, 4> older_answer = {0xb1, 0x68, 0xde, 0x3a};  // 987654321
  EXPECT_TRUE(is_greeting(greeting()));
  EXPECT_TRUE(is_greeting(older));
  EXPECT_TRUE(is_answer_to_greeting(answer_to_greeting()));
  EXPECT_TRUE(is_answer_to_greeting(older_answer));
  EXPECT_FALSE(is_greeting(older_answer));
  EXPECT_FALSE(is_greeting({}));
  EXPECT_FALSE(is_greeting(Bytes(older).first(3)));
  const std::array<std::uint8_t, 5> longer = {'9', '8', '7', '6', 0};
  EXPECT_FALSE(is_greeting(longer));
}

TEST(Datagram, Header) {
  const std::array<std::uint8_t, 16> bytes = {0, 0, 0x2d, 0xcf, 0, 4, 0x17, 0xca, 0, 0, 0, 1, 0, 0, 0, 2};
  const auto narrow = parse_datagram(bytes, CounterWidth::k32);
  ASSERT_TRUE(narrow);
  EXPECT_EQ(narrow->seconds, 0x2dcfu);
  EXPECT_EQ(narrow->microseconds, 0x417cau);
  EXPECT_EQ(narrow->number, 1u);
  const auto wide = parse_datagram(bytes, CounterWidth::k64);
  ASSERT_TRUE(wide);
  EXPECT_EQ(wide->number, 0x1'0000'0002u);
  EXPECT_FALSE(parse_datagram(Bytes(bytes).first(11), CounterWidth::k32));
  EXPECT_FALSE(parse_datagram(Bytes(bytes).first(15), CounterWidth::k64));
  std::array<std::uint8_t, 16> again{};
  store(*wide, CounterWidth::k64, again.data());
  EXPECT_EQ(again, bytes);
}

TEST(DatagramCount, LossAndOrder) {
  DatagramCount count;
  for (const std::uint64_t number : {1u, 2u, 5u, 3u, 6u, 6u}) count.take({0, 0, number}, 0);
  EXPECT_EQ(count.highest(), 6u);
  EXPECT_EQ(count.out_of_order(), 2u);  // the 3, and the 6 that came twice
  EXPECT_EQ(count.lost(), 0u);          // 3 and 4 missed, each out of order made up for one
  count.take({0, 0, 10}, 0);
  EXPECT_EQ(count.lost(), 3u);
  count.take({0, 0, UINT64_MAX}, 0);  // nonsense stays a number
  EXPECT_EQ(count.highest(), UINT64_MAX);
}

// RFC 3550 §6.4.1: a sixteenth of the way to the change of the transit time, each time.
TEST(DatagramCount, Jitter) {
  DatagramCount count;
  count.take({1, 0, 1}, 101.0);
  EXPECT_EQ(count.jitter(), 0);
  count.take({2, 0, 2}, 102.0);
  EXPECT_EQ(count.jitter(), 0);
  count.take({3, 0, 3}, 103.016);
  EXPECT_NEAR(count.jitter(), 0.001, 1e-9);
  count.take({4, 0, 4}, 104.0);
  EXPECT_NEAR(count.jitter(), 0.001 + (0.016 - 0.001) / 16, 1e-9);
}

}  // namespace
}  // namespace sluice::apps::perf
