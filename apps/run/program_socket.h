// A socket of the program's. What the program holds is one end of a pair of kernel sockets; here are our end and the
// socket on the stack that it stands for. The calls that are the same for all kinds are here, the others in
// stream_socket.h and datagram_socket.h.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "apps/run/call.h"
#include "apps/run/kernel_fd.h"
#include "apps/run/processes.h"
#include "apps/run/record_batch.h"
#include "apps/run/tags.h"
#include "sluice/runtime.hpp"
#include "sluice/socket.hpp"

namespace sluice::apps::run {

class ProgramSocket;

// The program's sockets by their identity. One that is over, while the program may still hold its end, can be asked for
// its names and its error; the oldest of these are forgotten.
class SocketTable {
 public:
  SocketTable();
  ~SocketTable();
  ProgramSocket& add(std::unique_ptr<ProgramSocket> socket);
  [[nodiscard]] ProgramSocket* find(std::uint64_t identity) const;
  void retire(const ProgramSocket& socket);
  // Deals with what the program has closed just now, rather than when the loop comes to it: a port may wait for that.
  void look_for_closed();
  [[nodiscard]] std::size_t open() const { return sockets_.size() - retired_.size(); }

 private:
  std::unordered_map<std::uint64_t, std::unique_ptr<ProgramSocket>> sockets_;
  std::deque<std::uint64_t> retired_;
};

// What all sockets share.
struct Context {
  explicit Context(EventLoop& l) : loop(l) {}
  EventLoop& loop;
  Processes processes;
  Tags tags;
  RecordBatch batch;  // of one call at a time
  net::Loan spare;    // a block of the stack's that no pump needs just now
  SocketTable sockets;
  std::vector<std::uint8_t> scratch = std::vector<std::uint8_t>(std::size_t{64} << 10);  // of one call at a time
};

// A pair of connected kernel sockets, both non-blocking for us. `flags` as SOCK_NONBLOCK: so is the program's for it.
struct Ends {
  KernelFd ours;
  KernelFd theirs;
  std::uint64_t identity = 0;
};
Result<Ends> make_ends(int type, int flags);

class ProgramSocket {
 public:
  struct Kind {
    int type = 0;  // SOCK_STREAM, SOCK_DGRAM
    int protocol = 0;
  };
  ProgramSocket(Context& context, Kind kind, KernelFd ours, std::uint64_t identity, net::Socket stack);
  virtual ~ProgramSocket();
  ProgramSocket(const ProgramSocket&) = delete;
  ProgramSocket& operator=(const ProgramSocket&) = delete;

  [[nodiscard]] std::uint64_t identity() const { return identity_; }
  [[nodiscard]] int our_end() const { return ours_.get(); }  // -1 when it is over
  void look_for_close();

  // The trapped calls. `theirs` is a copy of the program's descriptor.
  virtual void connect(Call call, KernelFd theirs) = 0;
  virtual void listen(Call call, KernelFd theirs) = 0;
  virtual void accept(Call call, KernelFd theirs) = 0;
  virtual void send_message(Call call, KernelFd theirs) = 0;     // sendto with a name, sendmsg, sendmmsg
  virtual void receive_message(Call call, KernelFd theirs) = 0;  // recvfrom with a name, recvmsg, recvmmsg
  void bind(Call call) const;
  void tell_local_name(Call call);
  void tell_peer_name(Call call) const;
  void set_option(Call call) const;
  void get_option(Call call);

 protected:
  void watch_stack(int events);   // 0: nothing but errors and its end
  void watch_kernel(int events);  // 0: nothing but its end
  void unwatch_stack();
  void unwatch_kernel();
  virtual void on_stack(short revents) = 0;
  virtual void on_kernel(short revents) = 0;
  // The stack's socket and our end are closed. The object stays for a while, for what may be asked of it.
  void end();
  void note_error(int error) { error_ = error; }
  [[nodiscard]] int take_noted_error() { return std::exchange(error_, 0); }
  [[nodiscard]] int take_error();  // of the socket (SO_ERROR): ours, or the stack's

  Context& context_;
  const Kind kind_;
  KernelFd ours_;
  net::Socket stack_;

 private:
  std::optional<int> own_option(int level, int name);

  const std::uint64_t identity_;
  SocketAddress local_;  // when it is over
  int error_ = 0;
  std::optional<int> kernel_events_, stack_events_;  // watched for
};

[[nodiscard]] bool is_nonblocking(const KernelFd& theirs);
// SO_RCVTIMEO, SO_SNDTIMEO; 0: none.
[[nodiscard]] Duration time_limit(const KernelFd& theirs, int option);

}  // namespace sluice::apps::run
