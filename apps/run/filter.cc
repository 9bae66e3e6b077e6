#include "apps/run/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstdint>

namespace sluice::apps::run {

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "sluice run knows the system calls of x86-64 and arm64 only"
#endif

// What a call's arguments have to say for it to be of interest.
enum class When : std::uint8_t {
  kAlways,
  kInternet,  // the first is AF_INET or AF_INET6
  kNever,     // its like is not to be had here: what is asked of an io_uring no filter sees
  kNamed,     // the fifth is no null pointer: the peer's address. Without one, sendto and recvfrom are send and recv
};
struct Rule {
  std::uint32_t call;
  When when;
};
constexpr Rule kRules[] = {
    {SYS_socket, When::kInternet},    {SYS_connect, When::kAlways},       {SYS_bind, When::kAlways},
    {SYS_listen, When::kAlways},      {SYS_accept, When::kAlways},        {SYS_accept4, When::kAlways},
    {SYS_getsockname, When::kAlways}, {SYS_getpeername, When::kAlways},   {SYS_getsockopt, When::kAlways},
    {SYS_setsockopt, When::kAlways},  {SYS_sendto, When::kNamed},         {SYS_recvfrom, When::kNamed},
    {SYS_sendmsg, When::kAlways},     {SYS_recvmsg, When::kAlways},       {SYS_sendmmsg, When::kAlways},
    {SYS_recvmmsg, When::kAlways},    {SYS_io_uring_setup, When::kNever},
};

constexpr sock_filter kNotify{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF};
constexpr sock_filter kRefuse{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS};
constexpr sock_filter kAllow{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};

constexpr sock_filter load(std::size_t offset) {
  return {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)};
}
// How many instructions to skip when the loaded word is this one, and when not.
constexpr sock_filter compare(std::uint32_t word, std::uint8_t equal, std::uint8_t other) {
  return {BPF_JMP | BPF_JEQ | BPF_K, equal, other, word};
}
// Of an argument; a pointer has both halves, lower first.
constexpr std::size_t argument(std::size_t index) {
  return offsetof(seccomp_data, args) + index * sizeof(std::uint64_t);
}

std::vector<sock_filter> decision(When when) {
  switch (when) {
    case When::kAlways:
      return {kNotify};
    case When::kNever:
      return {kRefuse};
    case When::kInternet:
      return {load(argument(0)), compare(AF_INET, 1, 0), compare(AF_INET6, 0, 1), kNotify, kAllow};
    case When::kNamed:
      return {load(argument(4)), compare(0, 0, 2), load(argument(4) + sizeof(std::uint32_t)),
              compare(0, 1, 0),  kNotify,          kAllow};
  }
  return {kAllow};
}

}  // namespace

std::vector<sock_filter> filter_program() {
  std::vector<sock_filter> program{load(offsetof(seccomp_data, arch)), compare(kArchitecture, 1, 0), kAllow,
                                   load(offsetof(seccomp_data, nr))};
  for (const Rule& rule : kRules) {
    const std::vector<sock_filter> body = decision(rule.when);
    program.push_back(compare(rule.call, 0, static_cast<std::uint8_t>(body.size())));
    program.insert(program.end(), body.begin(), body.end());
  }
  program.push_back(kAllow);
  return program;
}

}  // namespace sluice::apps::run
