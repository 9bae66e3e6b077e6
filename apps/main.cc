// The sluice command line: common options and one subcommand a file. CLI11 is included here only: it is slow to compile.
#include <CLI/CLI.hpp>
#include <functional>

#include "apps/commands.h"

namespace {

using namespace sluice::apps;
using Chosen = std::function<int()>;

constexpr const char* kFooter = R"(Devices:
  tap:NAME         a TAP interface: Ethernet; root, or inside a namespace (unshare -Urn)
  tun:NAME         a TUN interface: bare IP packets
  live:IFACE       an existing interface through libpcap, as another station on its segment
  pcap:IN[,OUT]    a capture as the network; what is sent is written to OUT
  mem              an in-memory Ethernet with a second stack at its other end; needs no privilege

First steps:
  sluice ping --dev mem --addr 10.0.0.1/24 10.0.0.2
  sluice get  --dev mem --addr 10.0.0.1/24 http://10.0.0.2/ -o -
  sluice dump -v capture.pcap
`sluice COMMAND --help` explains a command.)";

void add_common(CLI::App& app, Common& common) {
  auto& o = common.runtime;
  app.add_option("--dev", o.device, "device: tap:NAME tun:NAME live:IFACE pcap:IN[,OUT] mem")->group("Common");
  app.add_option("--addr", o.addresses, "our address with its length, like 10.0.0.2/24; may be given again")->allow_extra_args(false)->group("Common");
  app.add_option("--gateway", o.gateway, "address of the default router")->group("Common");
  app.add_option("--mac", o.mac, "our MAC address (default: random)")->group("Common");
  app.add_option("--mtu", o.mtu, "largest IP packet, bytes (default: the device's)")->check(CLI::Range(68, 65535))->group("Common");
  app.add_option("--capture", o.capture, "write every frame to this pcap file")->group("Common");
  app.add_option("--impair", o.impair, "make the link worse: loss=1%,delay=10ms,reorder=5%:10ms,rate=100mbit ...")->group("Common");
  app.add_option("--cc", o.congestion, "congestion control")->group("Common");
  app.add_option("--seed", o.seed, "make randomness repeat (default: from the system)")->group("Common");
  app.add_flag("--json", common.json, "machine-readable output")->group("Common");
  app.add_flag("--stats", common.statistics, "print counters at the end")->group("Common");
}

class CommandLine {
 public:
  CommandLine() {
    app_.footer(kFooter);
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.set_help_all_flag("--help-all", "help of all commands");
    add_common(app_, common_);
    add_small();
    add_transfer();
    add_perf();
    add_captures();
  }
  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      const int code = app_.exit(e);
      return code == 0 ? kExitOk : kExitUsage;
    }
    return chosen_();
  }

 private:
  void add_small() {
    auto* ping = app_.add_subcommand("ping", "ICMP echo: is the host there, and how far is it");
    ping->add_option("host", ping_.host, "IPv4 address")->required();
    ping->add_option("-c", ping_.count, "stop after so many requests");
    ping->add_option("-i", ping_.interval, "seconds between requests")->check(CLI::Range(0.0, 3600.0));
    ping->add_option("-s", ping_.size, "bytes of data")->check(CLI::Range(0, 65507));
    ping->add_option("-W", ping_.wait, "seconds to wait for the last reply");
    ping->add_option("-t", ping_.ttl, "time to live")->check(CLI::Range(1, 255));
    ping->add_flag("-q", ping_.quiet, "only the summary");
    ping->callback([this] { chosen_ = [this] { return run_ping(common_, ping_); }; });

    auto* arping = app_.add_subcommand("arping", "ARP request: which MAC has this address");
    arping->add_option("host", arping_.host, "IPv4 address")->required();
    arping->add_option("-c", arping_.count, "requests");
    arping->callback([this] { chosen_ = [this] { return run_arping(common_, arping_); }; });

    auto* echo = app_.add_subcommand("echo", "server that returns what it is sent, TCP and UDP");
    echo->add_option("-p,--port", echo_.port, "port (default 7)");
    echo->callback([this] { chosen_ = [this] { return run_echo(common_, echo_); }; });

    auto* stat = app_.add_subcommand("stat", "what is counted: counters and drop reasons with their meaning");
    stat->callback([this] { chosen_ = [this] { return run_stat(common_); }; });

    auto* benchd = app_.add_subcommand("benchd", "services to be measured: discard, source, echo, HTTP");
    benchd->callback([this] { chosen_ = [this] { return run_benchd(common_); }; });
  }

  void add_transfer() {
    auto* httpd = app_.add_subcommand("httpd", "HTTP server: a directory, or built-in pages");
    httpd->add_option("root", httpd_.root, "directory to serve (default: built-in pages / /stats /bytes/N)");
    httpd->add_option("-p,--port", httpd_.port, "port (default 80)");
    httpd->callback([this] { chosen_ = [this] { return run_httpd(common_, httpd_); }; });

    auto* get = app_.add_subcommand("get", "HTTP client: saves a page");
    get->add_option("url", get_.url, "http://ADDRESS[:PORT]/PATH")->required();
    get->add_option("-o,--output", get_.output, "file; - is standard output (default: the last part of the URL)");
    get->add_flag("-q", get_.quiet, "no progress, no rate");
    get->callback([this] { chosen_ = [this] { return run_get(common_, get_); }; });

    auto* nc = app_.add_subcommand("nc", "netcat: standard input and output over TCP or UDP");
    nc->add_flag("-l", nc_.listen, "listen instead of connecting");
    nc->add_option("-p", nc_.port, "port to listen on");
    nc->add_flag("-u", nc_.udp, "UDP");
    nc->add_flag("-k", nc_.keep, "with -l: go on after a connection ends");
    nc->add_flag("-z", nc_.scan, "only connect and say whether that works");
    nc->add_flag("-v", nc_.verbose, "say what happens");
    nc->add_option("-w", nc_.timeout, "seconds of silence after which to stop");
    nc->add_flag("-N,!--no-shutdown", nc_.shutdown_on_eof, "close our side at the end of input (default)");
    nc->add_option("host", nc_words_, "[HOST] PORT")->expected(0, 2);
    nc->callback([this] { chosen_ = [this] { return run_netcat(); }; });
  }

  int run_netcat() {
    if (nc_words_.size() == 2) nc_.host = nc_words_[0];
    if (!nc_words_.empty()) nc_.port = static_cast<std::uint16_t>(strtoul(nc_words_.back().c_str(), nullptr, 10));
    if (nc_.port == 0 || (!nc_.listen && nc_.host.empty())) {
      fprintf(stderr, "nc: say where: `sluice nc HOST PORT`, or `sluice nc -l PORT`\n");
      return kExitUsage;
    }
    return sluice::apps::run_nc(common_, nc_);
  }

  void add_perf() {
    auto* perf = app_.add_subcommand("perf", "throughput between two sluices: server without HOST, client with it");
    perf->add_option("host", perf_.host, "the server's IPv4 address");
    perf->add_option("-p,--port", perf_.port, "port (default 5201)");
    perf->add_option("-t", perf_.seconds, "seconds to send")->check(CLI::Range(0.1, 86400.0));
    perf->add_option("-i", perf_.interval, "seconds between reports")->check(CLI::Range(0.1, 3600.0));
    perf->add_option("-P", perf_.parallel, "connections at once")->check(CLI::Range(1, 128));
    perf->add_flag("-R", perf_.reverse, "the server sends");
    perf->add_flag("-u", perf_.udp, "UDP");
    perf->add_option("-b", perf_.rate_mbit, "Mbit/s of UDP")->check(CLI::Range(0.001, 100000.0));
    perf->add_option("-l", perf_.length, "bytes a write or datagram");
    perf->callback([this] { chosen_ = [this] { return sluice::apps::run_perf(common_, perf_); }; });
  }

  void add_captures() {
    auto* replay = app_.add_subcommand("replay", "run a capture into a stack that plays one of its hosts");
    replay->add_option("file", replay_.file, "pcap or pcapng")->required()->check(CLI::ExistingFile);
    replay->add_option("--as", replay_.address, "the host to play, with a length: 192.168.1.10/24")->required();
    replay->add_option("--out", replay_.out, "write what the stack sends to this pcap file");
    replay->callback([this] { chosen_ = [this] { return run_replay(common_, replay_); }; });

    auto* dump = app_.add_subcommand("dump", "print the packets of a capture");
    dump->add_option("file", dump_.file, "pcap or pcapng")->required()->check(CLI::ExistingFile);
    dump->add_flag("-v", dump_.verbose, "every field, layer by layer");
    dump->add_flag("-x", dump_.hex, "the bytes as well");
    dump->add_flag("--ladder", dump_.ladder, "as a ladder between the hosts");
    dump->add_option("-c", dump_.count, "at most so many packets");
    dump->callback([this] { chosen_ = [this] { return run_dump(common_, dump_); }; });
  }

  CLI::App app_{"sluice: a TCP/IP stack in user space"};
  Common common_;
  Chosen chosen_;
  PingOptions ping_;
  ArpingOptions arping_;
  HttpdOptions httpd_;
  GetOptions get_;
  NcOptions nc_;
  std::vector<std::string> nc_words_;
  EchoOptions echo_;
  PerfOptions perf_;
  ReplayOptions replay_;
  DumpOptions dump_;
};

}  // namespace

int main(int argc, char** argv) { return CommandLine().run(argc, argv); }
