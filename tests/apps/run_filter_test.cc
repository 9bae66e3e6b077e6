// The seccomp filter of `sluice run`: what the kernel would decide about calls, by a reading of the program of our own.
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstring>
#include <optional>

#include "apps/run/filter.h"

namespace sluice::apps::run {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kHere = AUDIT_ARCH_X86_64;
constexpr std::uint32_t kElsewhere = AUDIT_ARCH_I386;
#else
constexpr std::uint32_t kHere = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t kElsewhere = AUDIT_ARCH_ARM;
#endif
constexpr std::uint32_t kRefused = SECCOMP_RET_ERRNO | ENOSYS;

// What the program returns for this call; nothing when it does what the kernel would refuse to load: an instruction
// that is none of a filter's, a load beyond the data, a jump or a fall past its end.
std::optional<std::uint32_t> decide(const std::vector<sock_filter>& program, const seccomp_data& data) {
  std::uint32_t loaded = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    const sock_filter& i = program[at];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (i.k % 4 != 0 || i.k + 4 > sizeof data) return std::nullopt;
        memcpy(&loaded, reinterpret_cast<const char*>(&data) + i.k, sizeof loaded);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += loaded == i.k ? i.jt : i.jf;
        break;
      case BPF_RET | BPF_K:
        return i.k;
      default:
        return std::nullopt;
    }
  }
  return std::nullopt;
}

struct Row {
  const char* name;
  int call;
  std::uint64_t arguments[6];
  std::uint32_t want;
};

constexpr std::uint64_t kPointer = 0x7ffc'1234'5678;
constexpr std::uint64_t kPointerWithoutLowHalf = 0x7ffc'0000'0000;

const Row kRows[] = {
    {"an IPv4 socket", SYS_socket, {AF_INET, SOCK_STREAM}, SECCOMP_RET_USER_NOTIF},
    {"an IPv6 socket", SYS_socket, {AF_INET6, SOCK_DGRAM}, SECCOMP_RET_USER_NOTIF},
    {"a Unix socket", SYS_socket, {AF_UNIX, SOCK_STREAM}, SECCOMP_RET_ALLOW},
    {"a netlink socket", SYS_socket, {AF_NETLINK, SOCK_RAW}, SECCOMP_RET_ALLOW},
    {"a packet socket", SYS_socket, {AF_PACKET, SOCK_RAW}, SECCOMP_RET_ALLOW},
    {"a pair of sockets", SYS_socketpair, {AF_UNIX, SOCK_STREAM}, SECCOMP_RET_ALLOW},
    {"connect", SYS_connect, {3, kPointer, 16}, SECCOMP_RET_USER_NOTIF},
    {"bind", SYS_bind, {3, kPointer, 16}, SECCOMP_RET_USER_NOTIF},
    {"listen", SYS_listen, {3, 5}, SECCOMP_RET_USER_NOTIF},
    {"accept", SYS_accept, {3}, SECCOMP_RET_USER_NOTIF},
    {"accept4", SYS_accept4, {3}, SECCOMP_RET_USER_NOTIF},
    {"getsockname", SYS_getsockname, {3}, SECCOMP_RET_USER_NOTIF},
    {"getpeername", SYS_getpeername, {3}, SECCOMP_RET_USER_NOTIF},
    {"getsockopt", SYS_getsockopt, {3}, SECCOMP_RET_USER_NOTIF},
    {"setsockopt", SYS_setsockopt, {3}, SECCOMP_RET_USER_NOTIF},
    {"sendmsg", SYS_sendmsg, {3}, SECCOMP_RET_USER_NOTIF},
    {"recvmsg", SYS_recvmsg, {3}, SECCOMP_RET_USER_NOTIF},
    {"sendmmsg", SYS_sendmmsg, {3}, SECCOMP_RET_USER_NOTIF},
    {"recvmmsg", SYS_recvmmsg, {3}, SECCOMP_RET_USER_NOTIF},
    {"send", SYS_sendto, {3, kPointer, 10, 0, 0, 0}, SECCOMP_RET_ALLOW},
    {"send, with a length but no name", SYS_sendto, {3, kPointer, 10, 0, 0, 16}, SECCOMP_RET_ALLOW},
    {"sendto", SYS_sendto, {3, kPointer, 10, 0, kPointer, 16}, SECCOMP_RET_USER_NOTIF},
    {"sendto, its name at a round place",
     SYS_sendto,
     {3, kPointer, 10, 0, kPointerWithoutLowHalf, 16},
     SECCOMP_RET_USER_NOTIF},
    {"sendto, its name at a low place", SYS_sendto, {3, kPointer, 10, 0, 0x10000, 16}, SECCOMP_RET_USER_NOTIF},
    {"recv", SYS_recvfrom, {3, kPointer, 10, 0, 0, 0}, SECCOMP_RET_ALLOW},
    {"recvfrom", SYS_recvfrom, {3, kPointer, 10, 0, kPointer, kPointer}, SECCOMP_RET_USER_NOTIF},
    {"recvfrom, its name at a round place",
     SYS_recvfrom,
     {3, kPointer, 10, 0, kPointerWithoutLowHalf, 16},
     SECCOMP_RET_USER_NOTIF},
    {"io_uring_setup", SYS_io_uring_setup, {8}, kRefused},
    {"io_uring_enter", SYS_io_uring_enter, {3}, SECCOMP_RET_ALLOW},
    {"read", SYS_read, {3, kPointer, 10}, SECCOMP_RET_ALLOW},
    {"write", SYS_write, {3, kPointer, 10}, SECCOMP_RET_ALLOW},
    {"close", SYS_close, {3}, SECCOMP_RET_ALLOW},
    {"shutdown", SYS_shutdown, {3, SHUT_WR}, SECCOMP_RET_ALLOW},
    {"epoll_pwait", SYS_epoll_pwait, {3}, SECCOMP_RET_ALLOW},
    {"sendfile", SYS_sendfile, {3, 4}, SECCOMP_RET_ALLOW},
    {"execve", SYS_execve, {kPointer}, SECCOMP_RET_ALLOW},
    {"a call there is not", 100'000, {AF_INET}, SECCOMP_RET_ALLOW},
};

TEST(RunFilter, DecidesOfEachCall) {
  const auto program = filter_program();
  ASSERT_LE(program.size(), std::size_t{BPF_MAXINSNS});
  for (const Row& row : kRows) {
    seccomp_data data{};
    data.nr = row.call;
    data.arch = kHere;
    std::copy(std::begin(row.arguments), std::end(row.arguments), data.args);
    EXPECT_EQ(decide(program, data), row.want) << row.name;
  }
}

// The number of a call of another architecture means another call here.
TEST(RunFilter, LeavesOtherArchitecturesAlone) {
  const auto program = filter_program();
  for (const Row& row : kRows) {
    seccomp_data data{};
    data.nr = row.call;
    data.arch = kElsewhere;
    std::copy(std::begin(row.arguments), std::end(row.arguments), data.args);
    EXPECT_EQ(decide(program, data), SECCOMP_RET_ALLOW) << row.name;
  }
}

}  // namespace
}  // namespace sluice::apps::run
