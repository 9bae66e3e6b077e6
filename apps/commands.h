// The subcommands: what the command line can choose, and the function that runs each. main.cc fills these in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/app.h"

namespace sluice::apps {

struct PingOptions {
  std::string host;
  std::uint32_t count = 0;  // 0: until interrupted
  double interval = 1;      // s
  std::uint32_t size = 56;  // bytes of data
  double wait = 1;          // s to wait for replies after the last request; at least two round trips
  std::uint8_t ttl = 0;
  bool quiet = false;
};
int run_ping(const Common& common, const PingOptions& options);

struct ArpingOptions {
  std::string host;
  std::uint32_t count = 0;  // requests; 0: until interrupted
  bool first = false;       // end with the first reply
};
int run_arping(const Common& common, const ArpingOptions& options);

struct HttpdOptions {
  std::uint16_t port = 80;
  std::string root;  // directory to serve; empty: the built-in pages only
};
int run_httpd(const Common& common, const HttpdOptions& options);

struct GetOptions {
  std::string url;
  std::string output;  // file; "-": stdout; empty: the last part of the URL
  bool quiet = false;
};
int run_get(const Common& common, const GetOptions& options);

struct NcOptions {
  std::string host;
  std::uint16_t port = 0;
  std::uint16_t source_port = 0;  // to connect from; 0: any
  bool listen = false;
  bool udp = false;
  bool keep = false;           // accept again after a connection ends
  bool shutdown_on_eof = true;
  bool scan = false;           // connect and say so, no data
  bool verbose = false;
  double timeout = 0;          // s of silence; 0: none
  std::string md5;             // key that TCP segments are signed with (RFC 2385); empty: they are not
};
int run_nc(const Common& common, const NcOptions& options);

struct EchoOptions {
  std::uint16_t port = 7;
};
int run_echo(const Common& common, const EchoOptions& options);

struct PerfOptions {
  std::string host;            // empty: be the server
  std::uint16_t port = 5201;
  double seconds = 10;
  std::uint64_t bytes = 0;     // to send instead of for some time; 0: by time
  double interval = 1;
  std::uint32_t parallel = 1;
  bool reverse = false;        // the server sends
  bool both = false;           // both send
  bool udp = false;
  double rate = -1;            // bit/s of each stream; 0: no limit; negative: none for TCP, 1 Mbit/s for UDP
  std::uint32_t length = 0;    // bytes a call or datagram; 0: 128 KiB, or what fits into a packet for UDP
  bool once = false;           // server: end after one test
};
int run_perf(const Common& common, const PerfOptions& options);

struct ReplayOptions {
  std::string file;
  std::string address;         // whose side to play, with a length
  std::string out;             // capture of what comes out
  std::vector<std::uint16_t> listen;  // TCP ports that accept
};
int run_replay(const Common& common, const ReplayOptions& options);

struct DumpOptions {
  std::string file;
  bool verbose = false;        // every field, layer by layer
  bool ladder = false;         // who said what to whom
  bool hex = false;
  std::uint64_t count = 0;     // 0: all
};
int run_dump(const Common& common, const DumpOptions& options);

// Of a running stack; `control` is the path of its control socket.
struct SsOptions {
  std::string control;
  bool tcp = false;        // only these; neither or both: all
  bool udp = false;
  bool listening = false;  // only what waits for a peer
  bool all = false;
  bool details = false;
};
int run_ss(const Common& common, const SsOptions& options);

struct StatOptions {
  std::string control;     // empty: show the names there are
  double every = 0;        // s; 0: once
  std::uint32_t count = 0; // rounds; 0: until interrupted
};
int run_stat(const Common& common, const StatOptions& options);

struct IpOptions {
  std::string control;
  std::string object;      // "addr", "link", "route", "neigh"
  std::vector<std::string> words;  // what to do with it, as for iproute2's ip; none: show
};
int run_ip(const Common& common, const IpOptions& options);

struct BenchdOptions {
  bool blocking = false;   // BSD calls and a thread a connection, instead of callbacks on one thread
  bool zero_copy = false;  // discard and source work in the stack's buffers
};
int run_benchd(const Common& common, const BenchdOptions& options);

struct RunOptions {
  std::vector<std::string> command;
};
int run_run(const Common& common, const RunOptions& options);

// As written on the command line; apps/sim_scenario.h reads them.
struct SimOptions {
  std::string rate = "100mbit";
  std::string round_trip = "40ms";
  std::string queue = "1bdp";
  std::string discipline = "droptail";
  std::string ecn_threshold;
  std::string loss, burst, jitter, reorder, down, swallow;  // of the data
  std::string ack_loss;
  bool lose_tails = false;
  std::uint32_t mtu = 1500;
  std::uint32_t count = 0;         // flows that have all in common
  std::vector<std::string> flows;  // descriptions of others
  std::string time = "30s";
  std::string warm_up = "0s";
  std::string every = "100ms";     // between the rows of `csv`
  std::string csv;                 // file; empty: none
  std::string capture;             // file; empty: none
  std::string congestion;
  std::uint64_t seed = 1;
};
int run_sim(const Common& common, const SimOptions& options);

}  // namespace sluice::apps
