// What joins connections, listeners and TIME-WAIT records. Private to stack/tcp.
#pragma once

#include <array>

#include "stack/tcp/connection.h"
#include "stack/tcp/flow.h"
#include "stack/tcp/isn.h"
#include "stack/tcp/listener.h"
#include "stack/tcp/syn_cookie.h"
#include "stack/tcp/time_wait.h"

namespace sluice::tcp {

// A port bound but not (yet) connected or listening.
struct PortClaim {
  Endpoint local;
  Tcp::Sharing sharing = Tcp::Sharing::kExclusive;
  PortClaim* next = nullptr;
};

struct Tcp::Impl {
  static constexpr std::size_t kClaimBuckets = 1024;

  Impl(Context& c, ip::Ip& i, buf::Pool& p, const TcpConfig& config);
  ~Impl();

  // --- demultiplexing
  void on_segment(ip::Datagram datagram);
  void no_flow(Arriving& segment, const FourTuple& tuple, Bytes packet);
  void time_wait_input(TimeWait& record, Arriving& segment);
  Listener* find_listener(const Endpoint& local) const;
  // A RST that answers a segment for which there is no connection (RFC9293-RST-02).
  void refuse(const Arriving& segment, const FourTuple& tuple);

  // --- sending for those who have no connection
  void send_bare(const FourTuple& tuple, const wire::tcp::Header& header, const wire::tcp::Options& options,
                 std::uint8_t ttl, std::uint8_t tos);

  // --- life and death
  Connection* make_connection(const FourTuple& tuple, const ip::Route& route, const ConnectionOptions& options);
  void retire(Connection& connection);  // freed when nobody is inside it any more
  void reap();
  void free_retired();
  void add_time_wait(const FourTuple& tuple, const TimeWait& facts);
  void remove_time_wait(TimeWait& record);
  void on_time_wait_timer();
  [[nodiscard]] bool table_full() const { return flows.size() >= config.max_connections; }
  void list_for_flush(Connection& connection);
  void flush_connections();

  // --- ports
  Result<std::uint16_t> ephemeral_port(const Endpoint& local, const Endpoint& peer);
  [[nodiscard]] PortClaim*& claims_of(std::uint16_t port) { return claims[port % kClaimBuckets]; }
  [[nodiscard]] bool port_claimed(const Endpoint& local, Sharing sharing);

  Context& context;
  ip::Ip& ip;
  buf::Pool& pool;
  TcpConfig config;
  IsnGenerator isn;
  SynCookies cookies;
  FlowTable flows;
  Listener* listeners = nullptr;
  std::array<PortClaim*, kClaimBuckets> claims{};  // by port
  TimeWait* oldest_time_wait = nullptr;
  TimeWait* newest_time_wait = nullptr;
  Timer time_wait_timer;
  Connection* first_to_flush = nullptr;
  Connection* last_to_flush = nullptr;
  Connection* graveyard = nullptr;
  Timer reaper;
  std::uint64_t next_number = 1;
};

}  // namespace sluice::tcp
