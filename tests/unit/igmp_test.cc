// The host's part of IGMP, by scripts of packets in virtual time: RFC 2236.
#include <gtest/gtest.h>

#include <set>

#include "stack/base/byte_order.h"
#include "stack/wire/igmp.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

namespace igmp = wire::igmp;

constexpr Ipv4Address kGroup = Ipv4Address::of(239, 1, 2, 3);
constexpr Ipv4Address kOther = Ipv4Address::of(239, 1, 2, 4);
constexpr Ipv4Address kAllHosts = Ipv4Address::of(224, 0, 0, 1);
constexpr std::uint8_t kProtocol = 2;

class Script : public IpScript {
 public:
  using IpScript::IpScript;
  Status join(Ipv4Address group) { return stack->ip().join_group(id, group); }
  Status leave(Ipv4Address group) { return stack->ip().leave_group(id, group); }

  void set_link(link::LinkState state) { EXPECT_TRUE(stack->ip().set_link_state(id, state).has_value()); }

  // From the router, or another host, with `more` bytes behind the message.
  void hear(const igmp::Message& message, Ipv4Address destination, std::size_t more = 0) {
    Octets l4(igmp::kSize + more, 0x5a);
    igmp::emit(l4, message);
    store_be16(l4.data() + 2, 0);
    store_be16(l4.data() + 2, wire::checksum(l4));
    hear(l4, destination);
  }
  void hear(const Octets& l4, Ipv4Address destination) {
    static Ipv4Address to;
    to = destination;
    rx(packet(
        kProtocol, l4, [](wire::ipv4::Header& h) { h.ttl = 1, h.destination = to; }, wire::multicast_mac(destination)));
  }
  void ask(std::uint8_t tenths, Ipv4Address group = Ipv4Address::any()) {
    hear({igmp::kQuery, tenths, group}, group.is_any() ? kAllHosts : group);
  }

  // What was sent since, each as "type group > destination".
  std::vector<std::string> said() {
    std::vector<std::string> all;
    for (const Octets& frame : device.sent) {
      if (load_be16(frame.data() + 12) != wire::ethernet::kIpv4) continue;
      const auto p = wire::ipv4::parse(Bytes(frame).subspan(14)).value();
      EXPECT_EQ(p.header.ttl, 1);
      EXPECT_EQ(p.header.tos, 0xc0);
      EXPECT_EQ(p.header.source, kUs);
      EXPECT_EQ(p.header.protocol, kProtocol);
      EXPECT_EQ(Octets(p.options.begin(), p.options.end()), (Octets{148, 4, 0, 0}));
      const auto m = igmp::parse(p.payload).value();
      const char* type = m.type == igmp::kReportV2 ? "report" : m.type == igmp::kReportV1 ? "old report" : "leave";
      all.push_back(std::string(type) + " " + std::string(wire::to_text(ip::Address(m.group)).view()) + " > " +
                    std::string(wire::to_text(ip::Address(p.header.destination)).view()));
    }
    device.sent.clear();
    return all;
  }
  // Until everything that nobody asked for is said.
  void settle() {
    after(20_s);
    device.sent.clear();
  }
};

using Said = std::vector<std::string>;
const Said kReport = {"report 239.1.2.3 > 239.1.2.3"};
const Said kNothing = {};

Said sorted(Said said) {
  std::sort(said.begin(), said.end());
  return said;
}

TEST(Igmp, JoiningIsReportedTwice) {  // (RFC1122-MC-02)
  Script s;
  s.after(60_s);
  EXPECT_EQ(s.said(), kNothing);  // of the group of all hosts
  ASSERT_TRUE(s.join(kGroup).has_value());
  EXPECT_EQ(s.said(), kReport);
  ASSERT_TRUE(s.join(kGroup).has_value());  // another user, no other member
  s.after(10_s);
  EXPECT_EQ(s.said(), kReport);
  s.after(60_s);
  EXPECT_EQ(s.said(), kNothing);
}

TEST(Igmp, QueriesAreAnsweredInTime) {  // (RFC2236-02)
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  ASSERT_TRUE(s.join(kOther).has_value());
  s.settle();
  s.ask(100);
  EXPECT_EQ(s.said(), kNothing);  // not at once
  s.after(10_s);
  EXPECT_EQ(s.said().size(), 2u);
  s.ask(10, kGroup);
  s.after(1_s);
  EXPECT_EQ(s.said(), kReport);
  s.ask(250);  // a second query that leaves less time brings the answer forward
  s.ask(1);
  s.after(100_ms);
  EXPECT_EQ(s.said().size(), 2u);
  s.ask(10);  // one that leaves more does not put it off
  s.ask(250);
  s.after(1_s);
  EXPECT_EQ(s.said().size(), 2u);
  s.after(60_s);
  EXPECT_EQ(s.said(), kNothing);
}

// At random: the answers to ten queries do not all come in the same tenth of the time that there is.
TEST(Igmp, AnswersAreSpread) {  // (RFC2236-02)
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  s.settle();
  std::set<int> tenths;
  for (int i = 0; i < 20; ++i) {
    s.ask(i < 10 ? 100 : 0);  // of version 1: ten seconds, too
    if (i == 10) tenths.clear();
    int tenth = 0;
    while (s.said().empty()) ++tenth, s.after(1_s);
    tenths.insert(tenth);
    s.after(20_s);
    EXPECT_TRUE(i != 9 || tenths.size() > 2u);
  }
  EXPECT_GT(tenths.size(), 2u);
  EXPECT_LE(*tenths.rbegin(), 10);
}

TEST(Igmp, ReportsOfOthersCount) {  // (RFC2236-02)
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  s.settle();
  for (const std::uint8_t type : {igmp::kReportV2, igmp::kReportV1}) {
    s.ask(100);
    s.hear({type, 0, kGroup}, kGroup);
    s.after(60_s);
    EXPECT_EQ(s.said(), kNothing);
  }
}

TEST(Igmp, LeavingIsToldByWhoReportedLast) {  // (RFC2236-01)
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  ASSERT_TRUE(s.join(kGroup).has_value());
  s.settle();
  ASSERT_TRUE(s.leave(kGroup).has_value());
  EXPECT_EQ(s.said(), kNothing);  // there is another user
  ASSERT_TRUE(s.leave(kGroup).has_value());
  EXPECT_EQ(s.said(), Said{"leave 239.1.2.3 > 224.0.0.2"});
  s.ask(10);
  s.after(60_s);
  EXPECT_EQ(s.said(), kNothing);

  ASSERT_TRUE(s.join(kGroup).has_value());
  s.settle();
  s.hear({igmp::kReportV2, 0, kGroup}, kGroup);
  ASSERT_TRUE(s.leave(kGroup).has_value());
  EXPECT_EQ(s.said(), kNothing);
}

TEST(Igmp, ARouterOfVersion1) {  // (RFC2236-04)
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  s.settle();
  s.ask(0);
  s.after(10_s);
  EXPECT_EQ(s.said(), Said{"old report 239.1.2.3 > 239.1.2.3"});
  ASSERT_TRUE(s.leave(kGroup).has_value());
  EXPECT_EQ(s.said(), kNothing);
  ASSERT_TRUE(s.join(kGroup).has_value());
  EXPECT_EQ(s.said(), Said{"old report 239.1.2.3 > 239.1.2.3"});
  s.after(380_s);
  s.said();
  s.ask(10);
  s.after(1_s);
  EXPECT_EQ(s.said(), Said{"old report 239.1.2.3 > 239.1.2.3"});
  s.after(20_s);  // it is not heard of any more
  s.said();
  s.ask(10);
  s.after(1_s);
  EXPECT_EQ(s.said(), kReport);
}

TEST(Igmp, ALinkThatComesUpIsJoinedAnew) {  // (RFC1122-MC-02)
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  s.settle();
  s.ask(100);
  s.set_link(link::LinkState::kDown);
  ASSERT_TRUE(s.join(kOther).has_value());
  s.after(60_s);
  EXPECT_EQ(s.said(), kNothing);  // not even the answer that was due
  s.set_link(link::LinkState::kUp);
  const Said both = {"report 239.1.2.3 > 239.1.2.3", "report 239.1.2.4 > 239.1.2.4"};
  EXPECT_EQ(s.said(), both);
  s.set_link(link::LinkState::kUp);  // as it is
  EXPECT_EQ(s.said(), kNothing);
  s.after(10_s);
  EXPECT_EQ(sorted(s.said()), both);
  s.after(60_s);
  EXPECT_EQ(s.said(), kNothing);
  s.set_link(link::LinkState::kDown);
  ASSERT_TRUE(s.leave(kOther).has_value());
  s.set_link(link::LinkState::kUp);
  EXPECT_EQ(s.said(), kReport);
  EXPECT_EQ(s.dropped(Drop::kLinkDown), 0u);  // nothing was even tried
}

TEST(Igmp, AnAnswerStandsForTheSecondReport) {
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  s.said();
  s.ask(1);
  s.after(60_s);
  EXPECT_EQ(s.said(), kReport);
}

TEST(Igmp, NothingIsSaidFromAnAddressThatIsNotSureYet) {
  Script s(link::Fcs::kNone, IpScript::Check::kProbe);
  ASSERT_TRUE(s.join(kGroup).has_value());
  EXPECT_EQ(s.said(), kNothing);
}

TEST(Igmp, WhatIsNotAMessage) {
  Script s;
  ASSERT_TRUE(s.join(kGroup).has_value());
  s.settle();
  Octets query(igmp::kSize);
  igmp::emit(query, {igmp::kQuery, 10, Ipv4Address::any()});
  query[1] ^= 1;
  s.hear(query, kAllHosts);  // (RFC3376-01)
  EXPECT_EQ(s.dropped(Drop::kIgmpChecksum), 1u);
  query.resize(7);
  s.hear(query, kAllHosts);
  EXPECT_EQ(s.dropped(Drop::kIgmpMalformed), 1u);
  s.hear({0x42, 10, Ipv4Address::any()}, kAllHosts);
  s.after(60_s);
  EXPECT_EQ(s.said(), kNothing);
  s.hear({igmp::kQuery, 10, Ipv4Address::any()}, kAllHosts, 4);  // version 3 has more (RFC2236-03)
  s.after(1_s);
  EXPECT_EQ(s.said(), kReport);
  EXPECT_EQ(s.dropped(Drop::kIgmpChecksum), 1u);
}

}  // namespace
}  // namespace sluice::test
