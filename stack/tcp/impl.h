// What joins connections, listeners and TIME-WAIT records. Private to stack/tcp.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "stack/tcp/connection.h"
#include "stack/tcp/fast_open.h"
#include "stack/tcp/flow.h"
#include "stack/tcp/isn.h"
#include "stack/tcp/listener.h"
#include "stack/tcp/ports.h"
#include "stack/tcp/send_state.h"
#include "stack/tcp/syn_cookie.h"
#include "stack/tcp/time_wait.h"

namespace sluice::tcp {

struct Tcp::Impl {
  Impl(Tcp& t, Context& c, ip::Ip& i, buf::Pool& p, const TcpConfig& config);
  ~Impl();

  // --- demultiplexing
  void on_segment(ip::Datagram datagram);
  void no_flow(Arriving& segment, const FourTuple& tuple, Bytes packet);
  void time_wait_input(TimeWait& record, Arriving& segment);
  [[nodiscard]] Listener* find_listener(const FourTuple& tuple) const;
  // A RST that answers a segment for which there is no connection (RFC9293-RST-02); `key`: of the peer.
  void refuse(const Arriving& segment, const FourTuple& tuple, const Md5Key* key);
  // False: it does not go with the key there is, or with there being none, and is dropped.
  bool check_signature(const Arriving& segment, const FourTuple& tuple, const Md5Key* key);
  [[nodiscard]] const Md5Key* key_of(const Flow& flow) const;  // a connection's or that of a TIME-WAIT

  // --- sending for those who have no connection
  struct Manner {
    std::uint8_t ttl = 0;  // 0: the stack's default
    std::uint8_t tos = 0;
    const Md5Key* key = nullptr;
  };
  void send_bare(const FourTuple& tuple, const wire::tcp::Header& header, const wire::tcp::Options& options,
                 const Manner& manner);

  // --- life and death
  Connection* make_connection(const FourTuple& tuple, const ip::Route& route, const ConnectionOptions& options);
  void retire(Connection& connection);  // freed when nobody is inside it any more
  void list(Flow& flow);
  void unlist(Flow& flow);  // no-op when it is not listed
  void reap();
  void free_retired();
  void replace_by_time_wait(Connection& connection, TimeWait& record);  // the record is Tcp's from now on
  void start_time_wait(TimeWait& record);
  void stop_time_wait(TimeWait& record);
  void remove_time_wait(TimeWait& record);
  void forget_time_wait(const Connection& connection);  // the record that took its place, if it is still there
  void on_time_wait_timer();
  [[nodiscard]] bool table_full() const { return flows.size() >= config.max_connections; }
  void list_for_flush(Connection& connection);
  void flush_connections();

  // --- ports
  Result<std::uint16_t> ephemeral_port(const Endpoint& local, const Endpoint& peer);

  Tcp& tcp;
  Context& context;
  ip::Ip& ip;
  buf::Pool& pool;
  TcpConfig config;
  RtoEstimator::Bounds rto_bounds;
  IsnGenerator isn;
  SynCookies cookies;
  FastOpenSecret fast_open_secret;
  FastOpenCache fast_open_cache;
  FlowTable flows;
  Ports ports;
  struct Exhausted {  // who found no ephemeral port last
    Endpoint local;
    Endpoint peer;
    std::uint64_t releases = UINT64_MAX;
  } exhausted;
  std::uint64_t releases = 0;  // of flows and ports: until it changes none is free for that one
  TimeWait* oldest_time_wait = nullptr;
  TimeWait* newest_time_wait = nullptr;
  Timer time_wait_timer;
  std::map<const TimeWait*, std::shared_ptr<const Md5Keys>> time_wait_keys;  // of those with a key
  std::vector<Connection*> to_flush;
  std::vector<Connection*> flushed;    // an empty one whose memory is used again
  std::vector<Connection*> graveyard;  // those to be freed
  Timer reaper;
  std::uint32_t next_number = 1;  // not 0, which in an event is none
  SendStates send_states;
  OptionSets option_sets;
};

}  // namespace sluice::tcp
