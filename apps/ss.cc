// sluice ss: the connections and ports of a running stack, as the kernel's ss prints its own.
#include <stdio.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "apps/commands.h"
#include "apps/ss_format.h"

namespace sluice::apps {

namespace {

struct Row {
  std::string network;  // "tcp" or "udp"
  std::string state, receive_queue, send_queue, local, peer;
  std::string details;  // empty: none
};

// As ss has it: by default what has a peer, with -l what waits for one, with -a all.
bool wanted(const std::string& state, const SsOptions& options) {
  const bool waits = state == "LISTEN" || state == "UNCONN";
  const bool embryonic = state == "TIME-WAIT" || state == "SYN-RECV";
  return options.all || (options.listening ? waits : !waits && !embryonic);
}

// 0.0.0.0 listens everywhere; a port 0 is no port.
std::string endpoint(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  const std::string port = text.substr(colon + 1);
  return text.substr(0, colon) + ":" + (port == "0" ? "*" : port);
}

Row row_of(const std::string& network, const Json& c, const SsOptions& options) {
  Row row{network,
          ss_state(c.value("state", "")),
          std::to_string(c.value("recv_q", std::uint64_t{0})),
          std::to_string(c.value("send_q", std::uint64_t{0})),
          endpoint(c.value("local", "")),
          endpoint(c.value("peer", "")),
          {}};
  if (options.details && network == "tcp") row.details = ss_details(c);
  return row;
}

void print(const std::vector<Row>& rows, bool with_network) {
  const Row head{"Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", {}};
  const auto width = [&](std::string Row::*column) {
    std::size_t most = (head.*column).size();
    for (const Row& r : rows) most = std::max(most, (r.*column).size());
    return static_cast<int>(most);
  };
  const int state = width(&Row::state), receive = width(&Row::receive_queue), send = width(&Row::send_queue);
  const int local = width(&Row::local), peer = width(&Row::peer);
  const auto line = [&](const Row& r) {
    if (with_network) printf("%-5s ", r.network.c_str());
    printf("%-*s %-*s %-*s %*s %*s\n", state, r.state.c_str(), receive, r.receive_queue.c_str(), send,
           r.send_queue.c_str(), local, r.local.c_str(), peer, r.peer.c_str());
    if (!r.details.empty()) printf("\t %s\n", r.details.c_str());
  };
  line(head);
  for (const Row& r : rows) line(r);
}

}  // namespace

int run_ss(const Common& common, const SsOptions& options) {
  const bool both = options.tcp == options.udp;
  std::vector<Row> rows;
  Json all = Json::object();
  for (const std::string network : {"udp", "tcp"}) {
    if (!both && !(network == "tcp" ? options.tcp : options.udp)) continue;
    const auto answer = ask_control(options.control, network);
    if (!answer) {
      fprintf(stderr, "ss: %s\n", answer.error().c_str());
      return kExitFailed;
    }
    all[network] = Json::array();
    for (const Json& c : (*answer)[network]) {
      if (!wanted(ss_state(c.value("state", "")), options)) continue;
      all[network].push_back(c);
      if (!common.json) rows.push_back(row_of(network, c, options));
    }
  }
  if (common.json) return printf("%s\n", all.dump(2).c_str()), kExitOk;
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::tie(a.network, a.local, a.peer) < std::tie(b.network, b.local, b.peer);
  });
  print(rows, both);
  return kExitOk;
}

}  // namespace sluice::apps
