// Calls of the C library that packetdrill does not route through the interface. With the shared object in LD_PRELOAD
// they come here first: those on the stack's descriptors go to the session, commands that would change the host set up
// the stack, and what only serves exact timing in real time is left out.
#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/times.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "drivers/packetdrill/adapter.h"
#include "drivers/packetdrill/commands.h"

using sluice::packetdrill::Session;

namespace {

// The same call of the library that would have been reached without this one.
template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

Session* session_of(int fd) {
  return fd >= sluice::packetdrill::kFirstDescriptor ? sluice::packetdrill::current_session() : nullptr;
}

}  // namespace

extern "C" int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept {
  Session* session = session_of(fd);
  if (session != nullptr) return session->getsockopt(fd, level, name, value, length);
  return next<decltype(&getsockopt)>("getsockopt")(fd, level, name, value, length);
}

extern "C" int close(int fd) {
  Session* session = session_of(fd);
  return session != nullptr ? session->close(fd) : next<decltype(&close)>("close")(fd);
}

// Declared here: the system's header may give it the name of the call with 64-bit offsets, which is the same.
extern "C" ssize_t sendfile(int to, int from, off_t* offset, size_t size) noexcept;
ssize_t sendfile(int to, int from, off_t* offset, size_t size) noexcept {
  Session* session = session_of(to);
  if (session == nullptr) return next<decltype(&sendfile)>("sendfile")(to, from, offset, size);
  std::string bytes(std::min<size_t>(size, 1u << 20), '\0');
  const ssize_t got =
      offset != nullptr ? pread(from, bytes.data(), bytes.size(), *offset) : read(from, bytes.data(), bytes.size());
  if (got < 0) return -1;
  iovec piece{bytes.data(), static_cast<size_t>(got)};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  const ssize_t sent = session->send(to, message, 0);
  if (sent > 0 && offset != nullptr) *offset += sent;
  return sent;
}

extern "C" int system(const char* line) {
  const auto real = next<decltype(&system)>("system");
  Session* session = sluice::packetdrill::current_session();
  if (line == nullptr || session == nullptr) return real(line);
  unsetenv("LD_PRELOAD");  // for the programs that are started
  int status = 0;
  for (const auto& command : sluice::packetdrill::split_commands(line)) {
    if (sluice::packetdrill::run_command(*session, command)) continue;
    status = real(command.text.c_str());
    if (status != 0) break;
  }
  return status;
}

// The tool begins in the middle of a tick of this clock.
extern "C" clock_t times(struct tms*) noexcept {
  static clock_t ticks = 0;
  return ++ticks;
}

extern "C" int mlockall(int) noexcept {
  return 0;
}

extern "C" int sched_setscheduler(pid_t, int, const struct sched_param*) noexcept {
  return 0;
}
