// What a socket tells about data it was given: MSG_ZEROCOPY, SO_TIMESTAMPING and TCP_INQ, through recvmsg().
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
#include <time.h>

#include <linux/errqueue.h>  // needs time.h

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

using Reports = TwoRuntimes;

void set_int(int fd, int level, int name, int value) {
  ASSERT_EQ(sl_setsockopt(fd, level, name, &value, sizeof value), 0) << name;
}

struct Report {
  sock_extended_err error{};
  std::optional<timespec> at{};
  int flags = 0;
};

// The next of the error queue; nothing when it is empty.
std::optional<Report> next(int fd) {
  alignas(cmsghdr) std::array<char, 256> room{};
  msghdr message{};
  message.msg_control = room.data();
  message.msg_controllen = room.size();
  if (sl_recvmsg(fd, &message, MSG_ERRQUEUE) != 0) {
    EXPECT_EQ(errno, EAGAIN);
    return {};
  }
  Report report;
  report.flags = message.msg_flags;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == IPPROTO_IP) memcpy(&report.error, CMSG_DATA(c), sizeof report.error);
    if (c->cmsg_level != SOL_SOCKET) continue;
    report.at.emplace();
    memcpy(&*report.at, CMSG_DATA(c), sizeof *report.at);
  }
  return report;
}

short events(int fd) {
  pollfd p{fd, POLLOUT, 0};
  EXPECT_GE(sl_poll(&p, 1, 0), 0);
  return p.revents;
}

// The memory is free when the call is over, and that is what the report says; several calls share one.
TEST_F(Reports, ZeroCopy) {
  const Pair pair = connected();
  EXPECT_EQ(sl_send(pair.client, "abc", 3, MSG_ZEROCOPY), 3);
  EXPECT_FALSE(next(pair.client));  // not asked for by the option
  set_int(pair.client, SOL_SOCKET, SO_ZEROCOPY, 1);
  EXPECT_EQ(sl_send(pair.client, "def", 3, 0), 3);
  EXPECT_EQ(sl_send(pair.client, "", 0, MSG_ZEROCOPY), 0);
  EXPECT_EQ(events(pair.client), POLLOUT);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sl_send(pair.client, "ghi", 3, MSG_ZEROCOPY), 3);
  EXPECT_EQ(events(pair.client), POLLOUT | POLLERR);
  const auto report = next(pair.client);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->flags, MSG_ERRQUEUE);
  EXPECT_EQ(report->error.ee_errno, 0u);
  EXPECT_EQ(report->error.ee_origin, SO_EE_ORIGIN_ZEROCOPY);
  EXPECT_EQ(report->error.ee_code, SO_EE_CODE_ZEROCOPY_COPIED);
  EXPECT_EQ(report->error.ee_info, 0u);
  EXPECT_EQ(report->error.ee_data, 2u);
  EXPECT_EQ(events(pair.client), POLLOUT);
  EXPECT_EQ(sl_send(pair.client, "jkl", 3, MSG_ZEROCOPY), 3);
  EXPECT_EQ(next(pair.client)->error.ee_info, 3u);
  EXPECT_FALSE(next(pair.client));
  const int two = 2;
  EXPECT_EQ(sl_setsockopt(pair.client, SOL_SOCKET, SO_ZEROCOPY, &two, sizeof two), -1);
  EXPECT_EQ(errno, EINVAL);
}

// The last byte of each call: when it was queued for the device, sent and acknowledged, on the clock of the system.
TEST_F(Reports, Timestamps) {
  const Pair pair = connected();
  EXPECT_EQ(sl_send(pair.client, "before", 6, 0), 6);
  timespec begin{};
  clock_gettime(CLOCK_REALTIME, &begin);
  set_int(pair.client, SOL_SOCKET, SO_TIMESTAMPING,
          SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_ACK |
              SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID);
  EXPECT_EQ(sl_send(pair.client, "twelve bytes", 12, 0), 12);
  std::array<char, 18> all{};
  EXPECT_EQ(sl_recv(pair.server, all.data(), all.size(), MSG_WAITALL), 18);
  std::optional<timespec> earlier = begin;
  for (const std::uint32_t stage : {SCM_TSTAMP_SCHED, SCM_TSTAMP_SND, SCM_TSTAMP_ACK}) {
    std::optional<Report> report;
    for (int i = 0; i < 1000 && !report; ++i) {  // the ACK is under way
      report = next(pair.client);
      if (report) break;
      pollfd p{pair.client, 0, 0};
      EXPECT_GE(sl_poll(&p, 1, 10), 0);
    }
    ASSERT_TRUE(report) << stage;
    EXPECT_EQ(report->flags, MSG_ERRQUEUE | MSG_TRUNC);
    EXPECT_EQ(report->error.ee_errno, unsigned{ENOMSG});
    EXPECT_EQ(report->error.ee_origin, SO_EE_ORIGIN_TIMESTAMPING);
    EXPECT_EQ(report->error.ee_info, stage);
    EXPECT_EQ(report->error.ee_data, 11u);
    ASSERT_TRUE(report->at);
    const double step =
        double(report->at->tv_sec - earlier->tv_sec) + double(report->at->tv_nsec - earlier->tv_nsec) / 1e9;
    EXPECT_GE(step, -0.001);
    EXPECT_LT(step, 60);
    earlier = report->at;
  }
  const int unknown = 1 << 30;
  EXPECT_EQ(sl_setsockopt(pair.client, SOL_SOCKET, SO_TIMESTAMPING, &unknown, sizeof unknown), -1);
  EXPECT_EQ(errno, EINVAL);
}

// A read says what it leaves; the end of the stream counts as a byte.
TEST_F(Reports, Inq) {
  const Pair pair = connected();
  set_int(pair.server, IPPROTO_TCP, TCP_INQ, 1);
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(sl_getsockopt(pair.server, IPPROTO_TCP, TCP_INQ, &value, &length), 0);
  EXPECT_EQ(value, 1);
  const auto left_after = [&](std::size_t size) {
    alignas(cmsghdr) std::array<char, 64> room{};
    std::array<char, 16> data{};
    iovec piece{data.data(), size};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    EXPECT_EQ(sl_recvmsg(pair.server, &message, 0), static_cast<ssize_t>(size));
    const cmsghdr* c = CMSG_FIRSTHDR(&message);
    int left = -1;
    if (c != nullptr && c->cmsg_level == IPPROTO_TCP && c->cmsg_type == TCP_CM_INQ)
      memcpy(&left, CMSG_DATA(c), sizeof left);
    return left;
  };
  EXPECT_EQ(sl_send(pair.client, "twelve bytes", 12, 0), 12);
  EXPECT_EQ(sl_shutdown(pair.client, SHUT_WR), 0);
  pollfd p{pair.server, POLLRDHUP, 0};
  ASSERT_EQ(sl_poll(&p, 1, 5000), 1);
  EXPECT_EQ(left_after(5), 7);
  EXPECT_EQ(left_after(7), 1);
}

}  // namespace
}  // namespace sluice::runtime_test
