// The second line of `sluice ss -i`: which of the kernel's words stand there, for which facts.
#include "apps/ss_format.h"

#include <gtest/gtest.h>

namespace sluice::apps {
namespace {

TEST(SsFormat, StatesAsTheKernelNamesThem) {
  const std::pair<const char*, const char*> rows[] = {{"ESTABLISHED", "ESTAB"},     {"SYN-RECEIVED", "SYN-RECV"},
                                                      {"UNCONNECTED", "UNCONN"},    {"CLOSED", "UNCONN"},
                                                      {"FIN-WAIT-1", "FIN-WAIT-1"}, {"LISTEN", "LISTEN"}};
  for (const auto& [state, shown] : rows) EXPECT_EQ(ss_state(state), shown);
}

TEST(SsFormat, Details) {
  const std::pair<const char*, const char*> rows[] = {
      {R"({})", ""},
      {R"({"congestion":"cubic","timestamps":true,"sack":true})", "ts sack cubic"},
      {R"({"timestamps":false,"send_scale":7,"receive_scale":0})", "wscale:7,0"},
      {R"({"rto_us":204000,"srtt_us":123,"rttvar_us":50})", "rto:204 rtt:0.123/0.05"},
      {R"({"send_mss":1448,"cwnd":14480,"ssthresh":2896})", "mss:1448 cwnd:10 ssthresh:2"},
      {R"({"bytes_sent":10,"bytes_retransmitted":0,"bytes_received":7})", "bytes_sent:10 bytes_received:7"},
      {R"({"send_mss":1000,"cwnd":10000,"srtt_us":10000,"rttvar_us":0})", "rtt:10/0 mss:1000 cwnd:10 send 8000000bps"},
      {R"({"path_mtu":1500,"advertised_mss":1460,"segments_sent":4,"segments_received":3,"data_segments_sent":2})",
       "pmtu:1500 advmss:1460 segs_out:4 segs_in:3 data_segs_out:2"},
      {R"({"last_sent_us_ago":8000,"last_ack_us_ago":2500,"unsent":77,"min_rtt_us":90,"backoff":1})",
       "backoff:1 lastsnd:8 lastack:2 notsent:77 minrtt:0.09"},
      {R"({"pacing_rate":125000})", "pacing_rate 1000000bps"},
      {R"({"send_mss":1000,"flight":1001,"retransmits":3})", "mss:1000 unacked:2 retrans:0/3"},
      {R"({"send_mss":1000,"retransmits":3,"retransmitted":1000,"lost":2000,"sacked":4000,"reordering_seen":true})",
       "mss:1000 retrans:1/3 lost:2 sacked:4 reord_seen"},
      {R"({"receive_rtt_us":1500,"receive_buffer":131072,"send_window":64256})",
       "rcv_rtt:1.5 rcv_space:131072 snd_wnd:64256"},
  };
  for (const auto& [connection, line] : rows) EXPECT_EQ(ss_details(Json::parse(connection)), line) << connection;
}

}  // namespace
}  // namespace sluice::apps
