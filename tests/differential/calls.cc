// The two implementations of the calls: the kernel's and sluice's.
#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "drivers/memory_link.h"
#include "sluice/runtime.hpp"
#include "sluice/socket.h"
#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

struct Stage {
  drivers::SharedMemoryLink link;
  std::unique_ptr<Runtime> runtime;
};

Stage& stage() {
  static Stage* the = [] {
    auto* s = new Stage;
    Options options;
    options.addresses = {"10.0.0.1/24"};
    options.mac = "02:00:00:00:0a:01";
    auto runtime = Runtime::open(options, s->link.end(0));
    if (!runtime) abort();
    s->runtime = std::move(*runtime);
    s->runtime->with_stack([s](Stack& stack) {
      const ip::InterfaceConfig other{.mac = {kLinkMacs[1]}, .address_check = ip::InterfaceConfig::AddressCheck::kNone};
      if (!stack.ip().add_interface(s->link.end(1), other)) abort();
    });
    return s;
  }();
  return *the;
}

void run_until_quiet() {
  stage().runtime->with_stack([](Stack& stack) {
    stack.set_time(stage().runtime->now());
    while (stack.poll(stage().runtime->now(), 64)) {
    }
  });
}

}  // namespace

const Calls& kernel_calls() {
  static const Calls calls{
      ::socket,
      ::bind,
      ::listen,
      ::accept4,
      ::connect,
      ::sendto,
      ::recvfrom,
      ::sendmsg,
      ::recvmsg,
      ::readv,
      ::shutdown,
      ::close,
      ::getsockname,
      ::getpeername,
      ::setsockopt,
      ::getsockopt,
      ::poll,
      [](int fd, int command, long argument) { return ::fcntl(fd, command, argument); },
      [](int fd, unsigned long request, void* argument) { return ::ioctl(fd, request, argument); },
      [] {},
      static_cast<int>(::if_nametoindex("lo")),
      {static_cast<int>(::if_nametoindex("sluice-a")), static_cast<int>(::if_nametoindex("sluice-b"))},
  };
  return calls;
}

const Calls& sluice_calls() {
  (void)stage();
  static const Calls calls{sl_socket,      sl_bind,         sl_listen,
                           sl_accept4,     sl_connect,      sl_sendto,
                           sl_recvfrom,    sl_sendmsg,      sl_recvmsg,
                           sl_readv,       sl_shutdown,     sl_close,
                           sl_getsockname, sl_getpeername,  sl_setsockopt,
                           sl_getsockopt,  sl_poll,         sl_fcntl,
                           sl_ioctl,       run_until_quiet, static_cast<int>(sl_if_nametoindex("lo")),
                           {1, 2}};
  return calls;
}

}  // namespace sluice::differential
