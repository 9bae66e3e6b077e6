// A listener with its two bounded queues: half-open connections (SYN-RECEIVED) and connections to be accepted.
// RFC 9293 §3.10.7.2, RFC 4987, RFC 7413 (its methods for that are in fast_open_io.cc).
#pragma once

#include <deque>
#include <optional>

#include "stack/tcp/connection.h"
#include "stack/tcp/fast_open.h"
#include "stack/tcp/flow.h"

namespace sluice::tcp {

class Listener;

// SYN-RECEIVED of a passive open: all that is known before the handshake is complete. Small, because a flood makes
// many, and bounded in number: a SYN cache (RFC4987-01).
struct HalfOpen : Flow {
  HalfOpen(const FourTuple& t, Listener& l) : Flow(FlowKind::kHalfOpen, t), listener(l) {}

  Listener& listener;
  HalfOpen* newer = nullptr;  // of this listener, in order of arrival
  HalfOpen* older = nullptr;
  Connection::Handshake handshake;
  std::uint32_t peer_window = 0;
  std::uint32_t ts_offset = 0;
  std::uint16_t our_mss = 0;
  std::uint8_t retries = 0;
  bool acknowledged = false;  // without data, which is waited for (TCP_DEFER_ACCEPT)
  std::uint8_t challenges = 0;
  Instant next_retry{};
  Instant expires{};
};

class Listener final : public ListenerHandle {
 public:
  Listener(Tcp::Impl& tcp, const Endpoint& local, PortSharing sharing, int backlog, const ConnectionOptions& options,
           ListenerUser* user);
  ~Listener() override;

  Result<ConnectionHandle*> accept() override;
  [[nodiscard]] bool acceptable() const override { return !waiting_.empty(); }
  void set_backlog(int backlog) override;
  void set_options(const ConnectionOptions& options) override { options_ = options; }
  [[nodiscard]] std::size_t waiting() const override { return waiting_.size(); }
  [[nodiscard]] std::size_t backlog() const override { return backlog_; }
  void close() override;
  [[nodiscard]] Endpoint local() const override { return local_; }
  void set_fast_open_limit(std::uint32_t limit) override { fast_open_->limit = limit; }
  void set_fast_open_keys(const FastOpenKeys& keys) override;
  [[nodiscard]] std::uint32_t fast_open_limit() const override { return fast_open_->limit; }
  [[nodiscard]] PortSharing sharing() const { return sharing_; }

  // --- from the network
  // No flow of this 4-tuple exists. One that did, until now, has `used` the numbers before this.
  void input(Arriving& segment, const FourTuple& tuple, std::optional<Seq> used = {});
  void input_half_open(HalfOpen& half, Arriving& segment);
  void on_connection_gone(Connection& connection);  // it was waiting to be accepted
  void on_icmp_error(HalfOpen& half, const ip::IcmpError& error);

  [[nodiscard]] std::size_t half_open_count() const { return half_open_; }
  [[nodiscard]] const ConnectionOptions& options() const { return options_; }
  [[nodiscard]] const Md5Key* key_for(const ip::Address& peer) const {  // null: none
    return tcp::key_for(options_.md5_keys, peer);
  }
  Listener* next = nullptr;  // of those with this port

 private:
  static constexpr int kRetries = 5;

  void take_syn(Arriving& segment, const FourTuple& tuple, std::optional<Seq> used);
  [[nodiscard]] Seq choose_iss(const FourTuple& tuple, std::optional<Seq> used) const;
  void take_ack(Arriving& segment, const FourTuple& tuple);
  [[nodiscard]] bool answer_with_cookie();
  void negotiate(const Arriving& syn, const ip::Route& route, HalfOpen& half) const;
  void keep(HalfOpen& half);
  void send_cookie(HalfOpen& half);
  void complete(const FourTuple& tuple, const Connection::Handshake& handshake, Arriving& segment);
  void wait_for_accept(Connection& connection);
  // RFC 7413: whether the data of a SYN is taken, and what the SYN-ACK says about cookies.
  struct EarlyData {
    bool taken = false;
    FastOpenOption answer{};
  };
  [[nodiscard]] EarlyData judge_fast_open(const Arriving& syn, const FourTuple& tuple);
  [[nodiscard]] EarlyData judge_fast_open_cookie(const Arriving& syn, const FourTuple& tuple);
  [[nodiscard]] const FastOpenKeys& fast_open_keys() const;
  void open_early(Arriving& syn, const HalfOpen& half, const ip::Route& route, const FastOpenOption& answer);
  [[nodiscard]] std::uint16_t first_window() const;
  [[nodiscard]] std::uint32_t clock_of(const HalfOpen& half) const;
  void send_syn_ack(const HalfOpen& half) { send_syn_ack(half, clock_of(half)); }
  void send_syn_ack(const HalfOpen& half, std::uint32_t clock, const FastOpenOption& fast_open = {});
  void challenge(HalfOpen& half);
  void send_from(const HalfOpen& half, const wire::tcp::Header& header, const wire::tcp::Options& options);
  bool half_open_acceptable(HalfOpen& half, const Arriving& segment);
  void remove(HalfOpen& half);
  void on_timer();
  void retry(HalfOpen& half);
  void arm(Instant at);
  [[nodiscard]] bool accept_queue_full() const { return waiting_.size() >= backlog_; }

  Tcp::Impl& tcp_;
  Context& context_;
  Endpoint local_;
  PortSharing sharing_;
  ConnectionOptions options_;
  ListenerUser* user_;
  std::size_t backlog_;
  std::deque<Connection*> waiting_;  // accept queue
  HalfOpen* oldest_ = nullptr;
  HalfOpen* newest_ = nullptr;
  std::size_t half_open_ = 0;
  Instant last_cookie_at_ = Instant::past();
  Timer timer_;
  std::shared_ptr<FastOpenQueue> fast_open_ = std::make_shared<FastOpenQueue>();
  std::unique_ptr<FastOpenKeys> fast_open_keys_;  // null: the stack's
};

}  // namespace sluice::tcp
