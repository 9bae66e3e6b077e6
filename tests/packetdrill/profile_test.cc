// Flags, sysctls and commands, and what they set.
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "drivers/packetdrill/commands.h"
#include "drivers/packetdrill/profile.h"

namespace sluice::packetdrill {
namespace {

TEST(Profile, KnowsItsWords) {
  const auto linux_like = parse_profile("");
  ASSERT_TRUE(linux_like);
  EXPECT_EQ(linux_like->mtu, 1500u);
  EXPECT_EQ(linux_like->stack.tcp.timestamps, tcp::Switch::kOn);
  EXPECT_EQ(linux_like->stack.tcp.idle_restart, tcp::Switch::kOff);
  const auto plain = parse_profile("profile=plain,local=10.1.2.3/24,mtu=9000,tcp_timestamps=0,tcp_sack=0");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->mtu, 9000u);
  EXPECT_EQ(plain->local.length, 24);
  EXPECT_EQ(plain->stack.tcp.quick_acks, 0);
  EXPECT_EQ(plain->stack.tcp.receive_buffer, 65535u);
  EXPECT_EQ(plain->stack.tcp.timestamps, tcp::Switch::kOff);
  EXPECT_EQ(plain->stack.tcp.sack, tcp::Switch::kOff);
  EXPECT_EQ(plain->stack.tcp.dsack, tcp::Switch::kOn);
}

TEST(Profile, SysctlsSwitchMechanisms) {
  using tcp::Switch;
  Profile p = *parse_profile("");
  const tcp::TcpConfig& c = p.stack.tcp;
  EXPECT_EQ(c.burst_sizing, Switch::kOn);
  EXPECT_EQ(c.least_burst, 2);
  for (const char* name : {"tcp_early_retrans", "tcp_recovery", "tcp_frto"}) EXPECT_TRUE(apply_sysctl(p, name, "0"));
  EXPECT_TRUE(apply_sysctl(p, "tcp_min_tso_segs", "9"));
  EXPECT_EQ(c.tail_probe, Switch::kOff);
  EXPECT_EQ(c.rack, Switch::kOff);
  EXPECT_EQ(c.frto, Switch::kOff);
  EXPECT_EQ(c.least_burst, 9);
  EXPECT_EQ(c.mtu_probing, tcp::MtuProbing::kOff);
  EXPECT_TRUE(apply_sysctl(p, "tcp_mtu_probing", "2"));
  EXPECT_TRUE(apply_sysctl(p, "tcp_base_mss", "600"));
  EXPECT_TRUE(apply_sysctl(p, "tcp_mtu_probe_floor", "60"));
  EXPECT_EQ(c.mtu_probing, tcp::MtuProbing::kAlways);
  EXPECT_EQ(c.mtu_base_mss, 600);
  EXPECT_EQ(c.mtu_floor_mss, 60);
  reset_sysctls(p);
  EXPECT_EQ(c.tail_probe, Switch::kOn);
  EXPECT_EQ(c.rack, Switch::kOn);
  EXPECT_EQ(c.frto, Switch::kOn);
  EXPECT_EQ(c.least_burst, 2);
}

TEST(Profile, SaysWhichWordIsWrong) {
  for (const char* word : {"profile=bsd", "local=300.1.1.1", "mtu=12", "mtu=15x", "colour=blue", "linux"}) {
    const auto parsed = parse_profile(std::string("mtu=1500,") + word);
    ASSERT_FALSE(parsed) << word;
    EXPECT_EQ(parsed.error(), word);
  }
}

TEST(Commands, AreCutAsAShellDoes) {
  const auto commands = split_commands("../defaults.sh # first\nsysctl -q a=\"1 2 3\" \\\n  b=2 && tc x; echo 'c d'");
  ASSERT_EQ(commands.size(), 4u);
  EXPECT_EQ(commands[0].words, std::vector<std::string>{"../defaults.sh"});
  EXPECT_EQ(commands[1].words, (std::vector<std::string>{"sysctl", "-q", "a=1 2 3", "b=2"}));
  EXPECT_EQ(commands[2].words, (std::vector<std::string>{"tc", "x"}));
  EXPECT_EQ(commands[3].words, (std::vector<std::string>{"echo", "c d"}));
}

// The SYN of a new connection, which ends then.
IpDevice::Packet next_syn(Session& session) {
  const int fd = session.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = 8080;
  peer.sin_addr.s_addr = 0x010200c0;
  EXPECT_EQ(session.connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer), -1);
  IpDevice::Packet packet;
  EXPECT_TRUE(session.next_packet(packet));
  EXPECT_EQ(session.close(fd), 0);
  return packet;
}

// A connection's SYN tells what the sysctls have brought about.
class SysctlTest : public testing::TestWithParam<const char*> {
 protected:
  static bool syn_has_timestamps(Session& session) {
    const IpDevice::Packet packet = next_syn(session);
    for (std::size_t i = 40; i + 1 < packet.bytes.size();) {
      if (packet.bytes[i] == 8) return true;
      i += packet.bytes[i] < 2 ? 1 : packet.bytes[i + 1];
    }
    return false;
  }
};

TEST_P(SysctlTest, IsAppliedAndTakenBack) {
  Session session(*parse_profile("profile=linux"));
  EXPECT_TRUE(syn_has_timestamps(session));
  for (const Command& c : split_commands(GetParam())) EXPECT_TRUE(run_command(session, c));
  EXPECT_FALSE(syn_has_timestamps(session));
  EXPECT_TRUE(run_command(session, split_commands("../common/defaults.sh").front()));
  EXPECT_TRUE(syn_has_timestamps(session));
}

INSTANTIATE_TEST_SUITE_P(Spellings, SysctlTest,
                         testing::Values("sysctl -q net.ipv4.tcp_timestamps=0", "sysctl net/ipv4/tcp_timestamps=0",
                                         "../set_sysctls.py /proc/sys/net/ipv4/tcp_timestamps=0",
                                         "tc qdisc show\necho 0 > /proc/sys/net/ipv4/tcp_timestamps"));

TEST(Commands, AQueueingDisciplineThatPaces) {
  Session session(*parse_profile(""));
  const auto pacing = [&] { return session.profile().stack.tcp.pacing; };
  EXPECT_EQ(pacing(), tcp::Switch::kOff);
  for (const auto& [line, wanted] :
       {std::pair{"tc qdisc replace dev tun0 root fq", tcp::Switch::kOn}, std::pair{"tc qdisc show", tcp::Switch::kOn},
        std::pair{"tc qdisc add dev tun0 root pfifo", tcp::Switch::kOff}}) {
    EXPECT_TRUE(run_command(session, split_commands(line).front()));
    EXPECT_EQ(pacing(), wanted) << line;
  }
}

// The MSS that the next SYN offers.
std::uint16_t offered_mss(Session& session) {
  const IpDevice::Packet packet = next_syn(session);
  EXPECT_EQ(packet.bytes[40], 2);
  return static_cast<std::uint16_t>(packet.bytes[42] << 8 | packet.bytes[43]);
}

TEST(Commands, ARouteHasAnMtu) {
  Session session(*parse_profile(""));
  EXPECT_EQ(offered_mss(session), 1460);
  for (const auto& [line, wanted] :
       {std::pair{"ip route change 192.0.2.1 via 192.168.0.2 dev tun0 advmss 600 mtu lock 640 initcwnd 11", 600},
        std::pair{"ip route show", 600}, std::pair{"ip route change 192.0.2.1 dev tun0 mtu", 600},
        std::pair{"ip route change 192.0.2.1 dev tun0 mtu 20", 600},
        std::pair{"ip route replace 192.0.2.1/32 dev tun0 mtu 1400", 1360}}) {
    EXPECT_TRUE(run_command(session, split_commands(line).front()));
    EXPECT_EQ(offered_mss(session), wanted) << line;
  }
}

TEST(Commands, OfOthersAreLeftToTheShell) {
  Session session(*parse_profile(""));
  for (const char* line : {"true", "echo hello", "rm -f file"}) {
    EXPECT_FALSE(run_command(session, split_commands(line).front())) << line;
  }
}

}  // namespace
}  // namespace sluice::packetdrill
