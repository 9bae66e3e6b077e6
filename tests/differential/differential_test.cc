// Each program runs on the kernel and on sluice, in a network namespace of its own; what it saw must be the same line
// by line, but for the differences that are listed with their reasons.
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/differential/differences.h"
#include "tests/differential/session.h"
#include "tests/runtime/two_runtimes.h"

namespace sluice::differential {
namespace {

using Lines = std::vector<std::string>;

Lines transcript(const Row& row, const Calls& calls) {
  Session session(calls);
  row.program(session);
  return session.lines();
}

// A kernel under load may deliver late: what counts is what it does twice in a row.
Lines steady_transcript(const Row& row) {
  Lines before = transcript(row, kernel_calls());
  for (int i = 0; i < 10; ++i) {
    Lines now = transcript(row, kernel_calls());
    if (now == before) break;
    before = std::move(now);
  }
  return before;
}

std::vector<bool>& used() {
  static std::vector<bool> u(differences().size());
  return u;
}

bool argued(const std::string& row, const std::string& kernel, const std::string& sluice) {
  const auto all = differences();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!fits(all[i].rows, row) || !fits(all[i].kernel, kernel) || !fits(all[i].sluice, sluice)) continue;
    used()[i] = true;
    return true;
  }
  return false;
}

class Differential : public testing::TestWithParam<Row> {};

TEST_P(Differential, AsTheKernel) {
  const bool needs_links = GetParam().name.starts_with("packet/");
  if (needs_links && kernel_calls().links[0] == 0) GTEST_SKIP() << "no pair of Ethernet interfaces to be had";
  const runtime_test::Watchdog watchdog;
  Lines kernel = steady_transcript(GetParam());
  Lines ours = transcript(GetParam(), sluice_calls());
  const std::size_t count = std::max(kernel.size(), ours.size());
  kernel.resize(count, "(over)");
  ours.resize(count, "(over)");
  std::ostringstream shown;
  std::size_t differing = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const bool same = kernel[i] == ours[i];
    const bool bad = !same && !argued(GetParam().name, kernel[i], ours[i]);
    differing += bad ? 1 : 0;
    shown << (bad    ? "! "
              : same ? "  "
                     : "~ ")
          << kernel[i] << (same ? "" : "   <- kernel, sluice ->   " + ours[i]) << "\n";
  }
  EXPECT_EQ(differing, 0u) << GetParam().name << "\n" << shown.str();
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  add_stream_rows(rows);
  add_state_rows(rows);
  add_datagram_rows(rows);
  add_ancillary_rows(rows);
  add_raw_rows(rows);
  add_packet_rows(rows);
  add_reading_rows(rows);
  add_option_rows(rows);
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Rows, Differential, testing::ValuesIn(all_rows()), [](const auto& row) {
  std::string name = row.param.name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name + "__" + std::to_string(row.index);
});

// The differences as docs/SOCKETS.md has them: one line a reason.
std::string printed() {
  std::vector<std::pair<std::string, std::string>> reasons;  // with the rows
  for (const Difference& d : differences()) {
    const auto at = std::find_if(reasons.begin(), reasons.end(), [&](const auto& r) { return r.first == d.reason; });
    const std::string row = std::string("`") + d.rows + "`";
    if (at == reasons.end()) {
      reasons.emplace_back(d.reason, row);
    } else if (at->second.find(row) == std::string::npos) {
      at->second += ", " + row;
    }
  }
  std::string text = "| difference | rows of the test |\n|---|---|\n";
  for (const auto& [reason, names] : reasons) text += "| " + reason + " | " + names + " |\n";
  return text;
}

TEST(Differences, AreInTheDocument) {
  const char* path = std::getenv("SOCKETS_MD");
  if (path == nullptr) GTEST_SKIP() << "SOCKETS_MD does not say where docs/SOCKETS.md is";
  std::stringstream document;
  document << std::ifstream(path).rdbuf();
  EXPECT_NE(document.str().find(printed()), std::string::npos) << "the table has to be:\n" << printed();
}

// A difference that no longer shows is not to be listed. Asked when all rows have run.
class NoneIsLeftOver : public testing::Environment {
 public:
  void TearDown() override {
    if (testing::GTEST_FLAG(filter) != "*") return;
    for (std::size_t i = 0; i < used().size(); ++i) EXPECT_TRUE(used()[i]) << differences()[i].rows;
  }
};

// Without addresses, and silent.
void add_links() {
  std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1";
  (void)std::system(
      "ip link add sluice-a address 02:00:00:00:0a:01 type veth peer name sluice-b address 02:00:00:00:0a:02 && "
      "ip link set sluice-a up && ip link set sluice-b up");
}

// A network namespace with nothing but loopback and two interfaces without addresses, so that the kernel has its
// defaults and its ports to itself.
bool enter_namespace() {
  if (::unshare(CLONE_NEWNET) < 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) return false;
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  const bool up = ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  ::close(fd);
  std::ofstream("/proc/sys/net/ipv4/ping_group_range") << "0 2147483647";  // nobody may, unless told so
  add_links();
  return up;
}

}  // namespace
}  // namespace sluice::differential

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc == 2 && std::string(argv[1]) == "--print-differences") {
    printf("%s", sluice::differential::printed().c_str());
    return 0;
  }
  testing::AddGlobalTestEnvironment(new sluice::differential::NoneIsLeftOver);
  ::signal(SIGPIPE, SIG_IGN);
  if (!sluice::differential::enter_namespace()) {
    fprintf(stderr, "no network namespace to be had; this test needs root or user namespaces\n");
    return 77;  // skipped, for meson
  }
  return RUN_ALL_TESTS();
}
