// A TCP socket of the program's, in all its roles: it connects, or listens, or carries a connection. The program waits
// on its end with the kernel's own poll, select, epoll; what these are to say is made true by what is in the pair:
//   while a connection is being opened     the pair is full, so that it is not writable
//   a connection that waits to be accepted is one byte to read
//   the peer has sent FIN                  our end is shut down
//   the connection was reset, or failed    our end is closed with something unread in it: POLLERR, ECONNRESET
#pragma once

#include <deque>
#include <optional>

#include "apps/run/program_socket.h"
#include "apps/run/pump.h"
#include "apps/run/waiting_calls.h"

namespace sluice::apps::run {

class StreamSocket final : public ProgramSocket {
 public:
  StreamSocket(Context& context, Ends& ends, net::Socket stack);
  // Of a connection. `thread` has it as descriptor `number`.
  void begin_to_carry(pid_t thread, int number);
  void begin_to_wait();  // for what the program will do with it

  void connect(Call call, KernelFd theirs) override;
  void listen(Call call, KernelFd theirs) override;
  void accept(Call call, KernelFd theirs) override;
  void send_message(Call call, KernelFd theirs) override;
  void receive_message(Call call, KernelFd theirs) override;

 private:
  struct Arrival {  // a connection that the program has not accepted yet
    net::Socket socket;
    SocketAddress peer;
  };
  struct HeldBack {  // the program's end while it must not be writable
    KernelFd theirs;
    std::size_t filling = 0;  // bytes
    int room = 0;             // the send buffer it had
  };

  void on_stack(short revents) override;
  void on_kernel(short revents) override;
  void begin_connection(Call call, KernelFd theirs, SocketAddress& peer);
  void begun(Call& call, const KernelFd& theirs);
  bool begun_later(Call& call);
  void hold_back(KernelFd theirs);
  void let_go();
  void connection_decided();
  void take_arrivals();
  void announce_arrivals();
  bool hand_out(Call& call, const KernelFd& listener);
  bool hand_out_later(Call& call);
  void settle();
  void make_reset_visible();

  WaitingCalls waiting_;  // that begin a connection, or accept one
  bool connecting_ = false;
  SocketAddress peer_;   // that it is connecting to
  bool untold_ = false;  // the caller has not heard that the connection is under way
  HeldBack held_back_;
  int backlog_ = 0;  // not 0: listens
  std::deque<Arrival> arrivals_;
  std::size_t announced_ = 0;  // of them: bytes in the pair, which has room for some hundreds
  std::optional<Pump> pump_;
  // Who has had the program's end, under which number.
  pid_t owner_ = 0;
  int number_ = -1;
};

}  // namespace sluice::apps::run
