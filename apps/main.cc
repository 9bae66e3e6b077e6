// The sluice command line: common options and one subcommand a file. CLI11 is included here only: it is slow to
// compile.
#include <CLI/CLI.hpp>
#include <functional>

#include "apps/commands.h"
#include "apps/tcp_switches.h"

namespace {

using namespace sluice::apps;
using Chosen = std::function<int()>;

constexpr const char* kDevices = R"(Devices, for --dev:
  tap:NAME        a TAP interface: Ethernet frames to and from this machine's kernel. Needs root, or a namespace of
                  your own. The kernel's side has to be set up once:
                    unshare -Urn bash                    (unless root)
                    ip tuntap add dev tap0 mode tap && ip address add 10.0.0.1/24 dev tap0 && ip link set tap0 up
                    sluice httpd --dev tap:tap0 --addr 10.0.0.2/24 & curl http://10.0.0.2/
  tun:NAME        a TUN interface: the same with bare IP packets, no Ethernet, no ARP
                  tap:NAME,uring and tun:NAME,uring write through io_uring, 32 frames a system call, where segments
                  are cut here (--no-offload)
  packet:IFACE    an existing interface through a packet socket, as one more station on its segment, with an address of
                  its own; segments and checksums are the kernel's (unless --no-offload). Needs root.
  live:IFACE      the same through libpcap, frame by frame; the interface has to do without offloads:
                    ethtool -K IFACE gro off lro off (a veth: tx off tso off gso off, at its other end too)
  pcap:IN[,OUT]   a capture (pcap or pcapng) as the network, in recorded time; what is sent goes to the file OUT
  mem             an in-memory Ethernet, with a second stack in this program at its other end. It has the first free
                  address of --addr's network, and serves echo (7), discard (9), chargen (19), HTTP (80). Needs nothing.
)";

constexpr const char* kImpair = R"(Impairments, for --impair; any of these, with commas between them:
  loss=1%             frames lost at random
  burst=1%:20%        bursts of loss: chance of a frame to begin one, chance of the next to end it
  delay=10ms          one way, on each of the two
  jitter=2ms          up to so much more, order kept
  reorder=5%:10ms     frames held back by so long while others overtake
  duplicate=1%        frames that arrive twice
  corrupt=0.1%        frames with one bit flipped
  mark=1%             ECN-capable packets that get a congestion mark
  rate=100mbit        of the link, with queue=256k bytes waiting for it; kbit, mbit, gbit
  down=10s:500ms      an outage every so often, for so long
  swallow=1400        frames of more bytes vanish, and nobody is told
--seed N repeats the same fate.
Example: sluice get --dev mem --addr 10.0.0.1/24 --impair loss=2%,delay=20ms http://10.0.0.2/ -o -
)";

constexpr const char* kFirstSteps = R"(First steps, without any privilege:
  sluice ping --dev mem --addr 10.0.0.1/24 -c 3 10.0.0.2
  sluice get --dev mem --addr 10.0.0.1/24 --capture page.pcap http://10.0.0.2/ -o -
  sluice dump --ladder page.pcap
More: sluice COMMAND --help, sluice help devices, sluice help impair
)";

constexpr const char* kChanges = R"(Changes:
  addr add ADDRESS/LENGTH [dev sl1]        addr del ADDRESS[/LENGTH] [dev sl1]
  link set sl1 [up|down] [mtu N] [address MAC]
  route add|replace|del PREFIX|default [via ADDRESS] [dev sl1] [metric N]
  neigh add|replace ADDRESS lladdr MAC [dev sl1]        neigh del ADDRESS [dev sl1]
  neigh flush [dev sl1]                    what was learned, not what was added by hand
Example:
  sluice ip route replace default via 10.0.0.1 --control /run/sluice.sock
)";

constexpr const char* kTap = "--dev tap:tap0 --addr 10.0.0.2/24";

class CommandLine {
 public:
  CommandLine() {
    app_.footer(kFirstSteps);
    app_.require_subcommand(1);
    app_.set_help_all_flag("--help-all", "help of all commands");
    add_common(app_);
    add_probes();
    add_httpd();
    add_get();
    add_nc();
    add_small_servers();
    add_run();
    add_views();
    add_perf();
    add_sim();
    add_replay();
    add_dump();
    add_help();
  }
  int run(int argc, char** argv) {
    if (argc == 1) {
      printf("%s", app_.help().c_str());
      return kExitUsage;
    }
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      return e.get_exit_code() == 0 ? app_.exit(e) : complain(e);
    }
    return chosen_();
  }

 private:
  // What is wrong, and where to read on.
  int complain(const CLI::ParseError& e) const {
    const auto chosen = app_.get_subcommands();
    if (!chosen.empty()) {
      fprintf(stderr, "sluice %s: %s\nTry: sluice %s --help\n", chosen[0]->get_name().c_str(), e.what(),
              chosen[0]->get_name().c_str());
      return kExitUsage;
    }
    const std::vector<std::string> left = app_.remaining();
    const std::string word = left.empty() ? "" : left.front();
    if (!word.empty() && word[0] == '-') {
      fprintf(stderr, "sluice: '%s' is no option of all commands\nTry: sluice --help\n", word.c_str());
      return kExitUsage;
    }
    if (word.empty()) {
      fprintf(stderr, "sluice: %s\nTry: sluice --help\n", e.what());
      return kExitUsage;
    }
    fprintf(stderr, "sluice: '%s' is no command; there are:", word.c_str());
    for (const CLI::App* sub : commands()) fprintf(stderr, " %s", sub->get_name().c_str());
    fprintf(stderr, "\n");
    return kExitUsage;
  }

  [[nodiscard]] std::vector<const CLI::App*> commands() const {
    return app_.get_subcommands([](const CLI::App*) { return true; });
  }
  [[nodiscard]] const CLI::App* find_command(const std::string& name) const {
    for (const CLI::App* sub : commands()) {
      if (sub->check_name(name)) return sub;
    }
    return nullptr;
  }

  // Given before or after the command.
  void add_common(CLI::App& app) {
    auto& o = common_.runtime;
    const auto add = [&app](const char* name, auto& variable, const char* help) {
      return app.add_option(name, variable, help)->group("Stack");
    };
    add("--dev", o.device,
        "tap:NAME[,uring] tun:NAME[,uring] packet:IFACE live:IFACE pcap:IN[,OUT] mem; see `sluice help devices`");
    add("--addr", o.addresses, "our address with its length, like 10.0.0.2/24; may be given again")
        ->allow_extra_args(false);
    add("--gateway", o.gateway, "address of the default router");
    add("--mac", o.mac, "our MAC address (default: random)");
    add("--mtu", o.mtu, "largest IP packet, bytes (default: the device's)")->check(CLI::Range(68, 65535));
    add("--capture", o.capture, "write every frame to this pcap file; to one .pcapng with the stack's decisions as comments");
    add("--control", o.control, "path of a socket to be made, for `sluice ss`, `stat` and `ip` to look at this stack");
    add("--impair", o.impair, "make the link worse, like loss=1%,delay=10ms; see `sluice help impair`");
    app.add_flag_callback(
           "--no-offload", [&o] { o.segmentation = sluice::Options::Segmentation::kNone; },
           "tap, tun, packet: cut segments and compute checksums here, not in the kernel")
        ->group("Stack");
    app.add_flag_callback(
           "--no-coalesce", [&o] { o.coalescing = sluice::ip::InterfaceConfig::Coalescing::kOff; },
           "look at each received TCP segment by itself")
        ->group("Stack");
    add("--cc", o.congestion, "TCP congestion control");
    add("--seed", o.seed, "make randomness repeat (default: from the system)");
    app.add_flag("--json", common_.json, "machine-readable output")->group("Stack");
    app.add_flag("--stats", common_.statistics, "print counters at the end; SIGUSR1 prints them at any time")
        ->group("Stack");
  }

  // --NAME and --no-NAME for each mechanism of TCP that has a switch.
  void add_tcp_switches(CLI::App& app) {
    for (const TcpSwitch& s : tcp_switches()) {
      const std::string name(s.name);
      const auto set = [this, &s](std::int64_t count) {
        common_.runtime.tcp.*s.member = count > 0 ? sluice::tcp::Switch::kOn : sluice::tcp::Switch::kOff;
      };
      app.add_flag_function("--" + name + ",!--no-" + name, set, s.help)->group("TCP");
    }
    for (const TcpChoice& c : tcp_choices()) {
      const auto set = [this, &c](const std::string& word) {
        if (!c.set(word, common_.runtime.tcp)) {
          throw CLI::ValidationError(std::string("--") + c.name, "'" + word + "' is none of " + c.words);
        }
      };
      app.add_option_function<std::string>(std::string("--") + c.name, set, c.help)->type_name(c.words)->group("TCP");
    }
  }

  enum class Needs : std::uint8_t { kStack, kNothing };
  CLI::App* add(const std::string& name, const char* what, const std::string& example, Needs needs, Chosen run) {
    CLI::App* sub = app_.add_subcommand(name, what);
    if (needs == Needs::kStack) add_common(*sub);
    sub->footer("Example:\n  sluice " + name + " " + example + "\n");
    sub->callback([this, run = std::move(run)] { chosen_ = run; });
    return sub;
  }

  void add_probes() {
    auto* ping = add("ping", "ICMP echo: is the host there, and how far is it", std::string(kTap) + " -c 3 10.0.0.1",
                     Needs::kStack, [this] { return run_ping(common_, ping_); });
    ping->add_option("host", ping_.host, "IPv4 address")->required();
    ping->add_option("-c", ping_.count, "stop after so many requests (default: when interrupted)");
    ping->add_option("-i", ping_.interval, "seconds between requests (default 1)")->check(CLI::Range(0.0, 3600.0));
    ping->add_option("-s", ping_.size, "bytes of data (default 56)")->check(CLI::Range(0, 65507));
    ping->add_option("-W", ping_.wait, "seconds to wait for replies after the last request (default 1)")
        ->check(CLI::Range(0.0, 3600.0));
    ping->add_option("-t", ping_.ttl, "time to live (default 64)")->check(CLI::Range(1, 255));
    ping->add_flag("-q", ping_.quiet, "only the summary");

    auto* arping = add("arping", "ARP request: which MAC has this address", std::string(kTap) + " -c 3 10.0.0.1",
                       Needs::kStack, [this] { return run_arping(common_, arping_); });
    arping->add_option("host", arping_.host, "IPv4 address")->required();
    arping->add_option("-c", arping_.count, "stop after so many requests, one a second (default: when interrupted)");
    arping->add_flag("-f", arping_.first, "stop at the first reply");
  }

  void add_httpd() {
    auto* httpd = add("httpd", "HTTP server: a directory, or built-in pages", std::string(kTap) + " ./public",
                      Needs::kStack, [this] { return run_httpd(common_, httpd_); });
    httpd->add_option("root", httpd_.root,
                      "directory to serve (default: a welcome page); /stats and /bytes/N are always there");
    httpd->add_option("-p,--port", httpd_.port, "port (default 80)");
  }

  void add_get() {
    auto* get = add("get", "HTTP client: saves a page", std::string(kTap) + " -o page.html http://10.0.0.1:8000/",
                    Needs::kStack, [this] { return run_get(common_, get_); });
    get->add_option("url", get_.url, "http://ADDRESS[:PORT]/PATH")->required();
    get->add_option("-o,--output", get_.output, "file; - is standard output (default: the last part of the URL)");
    get->add_flag("-q", get_.quiet, "no progress, no rate");
  }

  void add_nc() {
    auto* nc = add("nc", "netcat: standard input and output over TCP or UDP", std::string(kTap) + " 10.0.0.1 7000",
                   Needs::kStack, [this] { return run_netcat(); });
    nc->add_flag("-l", nc_.listen, "listen instead of connecting");
    nc->add_option("-p", nc_.source_port, "port to listen on, or to connect from");
    nc->add_flag("-u", nc_.udp, "UDP");
    nc->add_flag("-k", nc_.keep, "with -l: go on after a connection ends");
    nc->add_flag("-z", nc_.scan, "only connect and say whether that works");
    nc->add_flag("-v", nc_.verbose, "say what happens");
    nc->add_option("-w", nc_.timeout, "seconds for connecting, and of silence, after which to stop")
        ->check(CLI::Range(0.0, 86400.0));
    nc->add_flag("-N,!--no-shutdown", nc_.shutdown_on_eof, "close our side at the end of input (default)");
    nc->add_option("--md5", nc_.md5, "key to sign segments with, and to expect them signed with (RFC 2385)")
        ->check([](const std::string& key) {
          return std::string(key.empty() || key.size() > 80 ? "a key has 1 to 80 bytes" : "");
        });
    nc->add_option("where", nc_words_, "HOST PORT; with -l: PORT")->expected(0, 2);
  }

  int run_netcat() {
    if (nc_words_.size() == 2) nc_.host = nc_words_[0];
    if (nc_words_.size() == 1 && !nc_.listen) {
      fprintf(stderr, "nc: which port of '%s'? `sluice nc HOST PORT`, or `sluice nc -l PORT`\n", nc_words_[0].c_str());
      return kExitUsage;
    }
    if (!nc_words_.empty() && !CLI::detail::lexical_cast(nc_words_.back(), nc_.port)) {
      fprintf(stderr, "nc: '%s' is no port; ports are numbers from 1 to 65535\n", nc_words_.back().c_str());
      return kExitUsage;
    }
    if (nc_.listen && nc_.port == 0) nc_.port = nc_.source_port;
    if (nc_.port == 0 || (!nc_.listen && nc_.host.empty())) {
      fprintf(stderr, "nc: where to? `sluice nc HOST PORT`, or `sluice nc -l PORT`\n");
      return kExitUsage;
    }
    return run_nc(common_, nc_);
  }

  void add_small_servers() {
    auto* echo = add("echo", "server that returns what it is sent, TCP and UDP", kTap, Needs::kStack,
                     [this] { return run_echo(common_, echo_); });
    echo->add_option("-p,--port", echo_.port, "port (default 7)");
    auto* benchd =
        add("benchd",
            "services to be measured: discard 5001, source 5002, echo 5003 and 5004/udp, echo once 5005, HTTP 8080",
            kTap, Needs::kStack, [this] { return run_benchd(common_, benchd_); });
    benchd->add_flag("--blocking", benchd_.blocking,
                     "blocking calls and a thread a connection, instead of an event loop");
    benchd->add_flag("--zero-copy", benchd_.zero_copy,
                     "discard and source work in the stack's buffers, without a copy");
  }

  void add_run() {
    auto* run = add("run", "an unmodified program, its TCP and UDP sockets on this stack",
                    std::string(kTap) + " -- curl http://10.0.0.1/", Needs::kStack,
                    [this] { return run_run(common_, run_); });
    run->add_option("command", run_.command, "the program and its arguments, after --")->required();
  }

  // Views of a running stack.
  CLI::Option* add_view(CLI::App& view, std::string& control) {
    view.add_flag("--json", common_.json, "machine-readable output");
    return view.add_option("--control", control, "the socket that the stack was given with --control")
        ->envname("SLUICE_CONTROL");
  }
  void add_views() {
    auto* ss = add("ss", "connections and ports of a running stack, as the kernel's ss has them",
                   "-ti --control /run/sluice.sock", Needs::kNothing, [this] { return run_ss(common_, ss_); });
    add_view(*ss, ss_.control)->required();
    ss->add_flag("-t", ss_.tcp, "TCP");
    ss->add_flag("-u", ss_.udp, "UDP");
    ss->add_flag("-l", ss_.listening, "only what waits for a peer");
    ss->add_flag("-a", ss_.all, "that as well as what has one");
    ss->add_flag("-i", ss_.details, "a second line: round trips, windows, what was sent and lost");
    ss->add_flag("-n")->description("numbers instead of names (there are no names here)");

    auto* stat = add("stat", "counters and drops of a running stack; without --control: what is counted",
                     "--control /run/sluice.sock --every 1s", Needs::kNothing,
                     [this] { return run_stat(common_, stat_); });
    add_view(*stat, stat_.control);
    stat->add_option("--every", stat_.every, "again and again after so long, like 1s: what has been added meanwhile")
        ->transform(CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}, {"ms", 1e-3}}))
        ->check(CLI::Range(0.01, 3600.0));
    stat->add_option("-c", stat_.count, "stop after so many rounds (default: when interrupted)");

    auto* ip = add("ip", "addresses, links, routes, neighbours of a running stack: shows and changes them",
                   "neigh --control /run/sluice.sock", Needs::kNothing, [this] { return run_ip(common_, ip_); });
    ip->footer(kChanges);
    add_view(*ip, ip_.control)->required();
    ip->add_option("object", ip_.object, "addr, link, route or neigh")->required();
    ip->add_option("words", ip_.words, "show (default), or a change, in the words of iproute2's ip");
  }

  void add_perf() {
    auto* perf = add("perf", "throughput to or from another sluice or an iperf3: client with HOST, server without",
                     std::string(kTap) + " 10.0.0.1     (iperf3 -s runs at the other end)\n  sluice perf " + kTap +
                         "              (for iperf3 -c 10.0.0.2)",
                     Needs::kStack, [this] { return run_perf(common_, perf_); });
    auto* host = perf->add_option("-c,host", perf_.host, "the server's IPv4 address");
    perf->add_flag("-s")->description("be the server (as without HOST)")->excludes(host);
    perf->add_option("-p,--port", perf_.port, "port (default 5201)");
    perf->add_option("-i", perf_.interval, "seconds between reports (default 1)")->check(CLI::Range(0.1, 3600.0));
    perf->add_flag("-1", perf_.once, "server: end after one test");
    auto* time = perf->add_option("-t", perf_.seconds, "seconds to send (default 10)")->check(CLI::Range(0.1, 86400.0));
    perf->add_option("-n", perf_.bytes, "bytes to send instead, like 100M, of all streams together")
        ->transform(CLI::AsSizeValue(false))
        ->excludes(time);
    perf->add_option("-P", perf_.parallel, "streams at once (default 1)")->check(CLI::Range(1, 128));
    auto* reverse = perf->add_flag("-R", perf_.reverse, "the server sends");
    perf->add_flag("--bidir", perf_.both, "both send")->excludes(reverse);
    perf->add_flag("-u", perf_.udp, "UDP");
    perf->add_option("-b", perf_.rate, "bit/s of each stream, like 20M; 0: no limit (default: UDP 1M, TCP no limit)")
        ->transform(CLI::AsNumberWithUnit(std::map<std::string, double>{{"K", 1e3}, {"M", 1e6}, {"G", 1e9}}))
        ->check(CLI::Range(0.0, 1e12));
    perf->add_option("-l", perf_.length, "bytes a write or datagram (default 128K; UDP: what fits into a packet)")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(16, 1 << 20));
    add_tcp_switches(*perf);
  }

  void add_sim() {
    auto* sim = add("sim", "flows over a simulated link, in virtual time: goodput, fairness, queue delay",
                    "--rate 50mbit --queue 1bdp --qdisc codel --flows 2 --flow rtt=10ms,start=5s",
                    Needs::kNothing, [this] { return run_sim(common_, sim_); });
    const auto link = [&](const char* name, std::string& text, const char* help) {
      return sim->add_option(name, text, help)->group("Link");
    };
    link("--rate", sim_.rate, "of each direction, like 100mbit (default)");
    link("--rtt", sim_.round_trip, "round trip without any queue, like 40ms (default)");
    link("--queue", sim_.queue, "of each direction: bytes like 256k, packets like 100p, or 1bdp (default)");
    link("--qdisc", sim_.discipline, "droptail (default), codel (RFC 8289), fq_codel (RFC 8290)");
    link("--ecn-threshold", sim_.ecn_threshold, "mark ECT packets that make the queue longer than this");
    link("--loss", sim_.loss, "data packets lost at random, like 1%");
    link("--burst", sim_.burst, "bursts of loss: chances to begin and to end one, like 0.1%:20%");
    link("--ack-loss", sim_.ack_loss, "ACKs lost at random, like 1%");
    link("--jitter", sim_.jitter, "up to so much more delay, order kept, like 2ms");
    link("--reorder", sim_.reorder, "data packets held back while others overtake, like 5%:10ms");
    link("--swallow", sim_.swallow, "data packets of more bytes vanish, and no ICMP message tells");
    link("--down", sim_.down, "an outage every so often, for so long, like 10s:500ms");
    sim->add_option("--mtu", sim_.mtu, "largest IP packet, bytes (default 1500)")
        ->check(CLI::Range(576, 65535))
        ->group("Link");
    sim->add_option("--flows", sim_.count, "how many flows (default 1, or none beside --flow)")
        ->check(CLI::Range(1, 65534));
    sim->add_option("--flow", sim_.flows,
                    "one more flow, of these: n=2,cc=NAME,rtt=40ms,start=1s,bytes=1m,write=64k:100ms,tail, and the "
                    "switches of TCP below; may be given again")
        ->allow_extra_args(false);
    sim->add_flag("--tail", sim_.lose_tails, "lose the last segment of each write, or of each flow, once");
    sim->add_option("--time", sim_.time, "to simulate, like 30s (default)");
    sim->add_option("--warm-up", sim_.warm_up, "do not count before this time (default 0s)");
    sim->add_option("--seed", sim_.seed, "of all randomness (default 1)");
    sim->add_flag("--json", common_.json, "machine-readable output");
    sim->add_option("--csv", sim_.csv, "write cwnd, srtt, goodput, queue of each flow over time to this file");
    sim->add_option("--capture", sim_.capture, "write the packets at the first flow's sender to this file (pcap; .pcapng with TCP's decisions)");
    sim->add_option("--every", sim_.every, "time between its rows (default 100ms)");
    sim->add_option("--cc", sim_.congestion, "TCP congestion control")->group("TCP");
    add_tcp_switches(*sim);
  }

  void add_replay() {
    auto* replay = add("replay", "run a capture into a stack that plays one of its hosts, and print both sides",
                       "capture.pcap --as 192.168.1.10/24 --listen 80", Needs::kNothing,
                       [this] { return run_replay(common_, replay_); });
    replay->add_option("file", replay_.file, "pcap or pcapng")->required()->check(CLI::ExistingFile);
    replay->add_option("--as", replay_.address, "the host to play, with a length: 192.168.1.10/24")->required();
    replay->add_option("--listen", replay_.listen, "TCP ports that accept; others refuse")->delimiter(',');
    replay->add_option("--out", replay_.out, "write what the stack sends to this pcap file");
    replay->add_option("--seed", common_.runtime.seed, "make randomness repeat (default 1)");
    replay->add_flag("--stats", common_.statistics, "print counters at the end");
  }

  void add_dump() {
    auto* dump = add("dump", "print the packets of a capture", "-v capture.pcap", Needs::kNothing,
                     [this] { return run_dump(common_, dump_); });
    dump->add_option("file", dump_.file, "pcap or pcapng")->required()->check(CLI::ExistingFile);
    dump->add_flag("-v", dump_.verbose, "every field, layer by layer");
    dump->add_flag("-x", dump_.hex, "the bytes as well");
    dump->add_flag("--ladder", dump_.ladder, "as a ladder between the hosts");
    dump->add_option("-c", dump_.count, "at most so many packets");
  }

  void add_help() {
    CLI::App* help = add("help", "help about: devices, impair, or a command", "devices", Needs::kNothing,
                         [this] { return show_help(); });
    help->add_option("topic", topic_, "devices, impair, or a command");
  }
  int show_help() const {
    const CLI::App* sub = find_command(topic_);
    if (topic_ == "devices") return printf("%s", kDevices), kExitOk;
    if (topic_ == "impair") return printf("%s", kImpair), kExitOk;
    if (topic_.empty() || sub != nullptr)
      return printf("%s", (sub != nullptr ? sub->help("sluice") : app_.help()).c_str()), kExitOk;
    fprintf(stderr, "help: nothing about '%s'; there are: devices, impair, and the commands\n", topic_.c_str());
    return kExitUsage;
  }

  CLI::App app_{"sluice: a TCP/IP stack in user space, and programs that use it", "sluice"};
  Common common_;
  Chosen chosen_;
  PingOptions ping_;
  ArpingOptions arping_;
  HttpdOptions httpd_;
  GetOptions get_;
  NcOptions nc_;
  std::vector<std::string> nc_words_;
  EchoOptions echo_;
  RunOptions run_;
  BenchdOptions benchd_;
  SsOptions ss_;
  StatOptions stat_;
  IpOptions ip_;
  PerfOptions perf_;
  SimOptions sim_;
  ReplayOptions replay_;
  DumpOptions dump_;
  std::string topic_;
};

}  // namespace

int main(int argc, char** argv) {
  return CommandLine().run(argc, argv);
}
