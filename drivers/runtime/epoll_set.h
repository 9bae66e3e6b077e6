// A set of descriptors to wait for: epoll(7) over the readiness of the stack's sockets. The kernel's descriptors of a
// set are in a set of the kernel's. All with the lock of the runtime. Private to drivers/runtime.
#pragma once

#include <sys/epoll.h>

#include <deque>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include "drivers/runtime/impl.h"

namespace sluice {

// A socket in a set. `edge` says that something has happened since it was last told; a member that may have something
// to tell is on the set's list.
struct EpollMember {
  EpollSet& set;
  socket::Handle handle;
  epoll_event event;
  bool edge = true;
  bool listed = false;
  EpollMember* next = nullptr;  // with the same socket
};

class EpollSet {
 public:
  explicit EpollSet(Runtime::Impl& runtime);
  ~EpollSet();
  EpollSet(const EpollSet&) = delete;
  EpollSet& operator=(const EpollSet&) = delete;

  // epoll_ctl(2) for a socket: 0, or errno. `event` is null only for EPOLL_CTL_DEL.
  int control(int operation, int fd, socket::Handle handle, const epoll_event* event);
  int control_kernel(int operation, int fd, epoll_event* event);
  bool ready();                              // something is to be told
  int collect(std::span<epoll_event> room);  // tells it; how many

  [[nodiscard]] int kernel_set() const { return kernel_set_; }

  std::uint32_t descriptors = 0;  // the numbers that stand for it; it goes with the last

  static void on_ready(EpollMember* members);                         // those with one socket
  static void forget(Runtime::Impl& runtime, socket::Handle handle);  // the socket is closed

 private:
  using Key = std::pair<int, socket::Handle>;  // a number may be closed, and the socket live on in its copies

  [[nodiscard]] std::uint32_t events_of(const EpollMember& member) const;
  void list(EpollMember& member);
  void remove(std::map<Key, EpollMember>::iterator member);
  std::size_t collect_ours(std::span<epoll_event> room);
  std::size_t collect_kernel(std::span<epoll_event> room) const;

  Runtime::Impl& runtime_;
  int kernel_set_;
  std::map<Key, EpollMember> members_;
  std::deque<EpollMember*> list_;
  bool kernel_first_ = false;  // in turn, so that neither kind fills the room always
};

}  // namespace sluice
