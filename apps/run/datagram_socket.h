// A UDP socket of the program's, or one for ICMP echo. Each datagram is one record in the pair, so that the program can
// read and write it with any call. Where it came from goes along as a descriptor (tags.h), which only we unpack: when
// the program asks for names, its call is trapped. An error of the socket is an empty record: read and recv, which are
// not trapped, return 0 then.
#pragma once

#include <deque>
#include <vector>

#include "apps/run/messages.h"
#include "apps/run/program_socket.h"
#include "apps/run/record_batch.h"
#include "apps/run/tags.h"
#include "apps/run/waiting_calls.h"

namespace sluice::apps::run {

class DatagramSocket final : public ProgramSocket {
 public:
  DatagramSocket(Context& context, Kind kind, Ends& ends, net::Socket stack);
  void begin();

  void connect(Call call, KernelFd theirs) override;
  void listen(Call call, KernelFd theirs) override;
  void accept(Call call, KernelFd theirs) override;
  void send_message(Call call, KernelFd theirs) override;
  void receive_message(Call call, KernelFd theirs) override;

 private:
  struct Parked {
    std::vector<std::uint8_t> bytes;
    KernelFd tag;
  };

  struct KeptError {  // of the stack's queue (IP_RECVERR)
    std::vector<std::uint8_t> bytes;
    Datagram datagram;  // without its bytes
  };
  static constexpr std::size_t kMostErrors = 64;

  void on_stack(short revents) override;
  void on_kernel(short revents) override;
  void update();
  void move_up();
  void move_up_parked();
  bool send_up(Bytes bytes);
  void move_down();
  void move_down_parked();
  bool take_from_stack(RecordBatch& batch);
  int send_one(const Call& call, std::size_t index);
  bool send_all(Call& call);
  int receive_one(const Call& call, const KernelFd& theirs, std::size_t index, int flags);
  int take_record(const KernelFd& theirs, int flags, Datagram& datagram);
  int receive_from_stack(Datagram& datagram, Bytes room, int flags);
  void keep_errors();
  int receive_error(const Call& call);
  bool receive_all(Call& call, const KernelFd& theirs);
  bool receive_later(Call& call);
  static void fail_or_wait(Call call, WaitingCalls& waiting, const KernelFd& theirs, int limit);

  WaitingCalls senders_, receivers_;
  // What the other side has no room for just now: at most a batch.
  std::deque<std::vector<std::uint8_t>> up_;
  std::deque<Parked> down_;
  std::deque<KeptError> errors_;
  bool up_ended_ = false;
  bool gone_ = false;  // the program's end is closed
};

}  // namespace sluice::apps::run
