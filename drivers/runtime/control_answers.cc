#include "drivers/runtime/control_answers.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "drivers/runtime/control_changes.h"
#include "drivers/runtime/interface_requests.h"
#include "stack/wire/address.h"

namespace sluice {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostRows = 100'000;  // of one answer

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

template <typename T>
std::string text(const T& value) {
  return std::string(wire::to_text(value).view());
}

// What was copied while the stack was held; made into JSON after that.
template <typename Row>
struct Rows {
  std::vector<Row> rows;
  std::size_t left_out = 0;

  void add(Row row) {
    if (rows.size() == kMostRows) return void(++left_out);
    rows.push_back(std::move(row));
  }
  template <typename ToJson>
  [[nodiscard]] Json json(const char* name, ToJson to_json) const {
    Json all = Json::array();
    for (const Row& row : rows) all.push_back(to_json(row));
    Json answer{{name, std::move(all)}};
    if (left_out > 0) answer["left_out"] = left_out;
    return answer;
  }
};

struct Connection {
  ip::Endpoint local, peer;
  tcp::Info info;
};

void add_path(Json& j, const tcp::Info& i) {
  if (i.window_scaling) j["send_scale"] = i.send_scale, j["receive_scale"] = i.receive_scale;
  j["rto_us"] = i.rto.to_micros();
  if (i.backoff != 0) j["backoff"] = i.backoff;
  if (i.srtt > Duration()) j["srtt_us"] = i.srtt.to_micros(), j["rttvar_us"] = i.rttvar.to_micros();
  if (i.min_rtt > Duration()) j["min_rtt_us"] = i.min_rtt.to_micros();
  if (i.receive_rtt > Duration()) j["receive_rtt_us"] = i.receive_rtt.to_micros();
  j["send_mss"] = i.send_mss;
  j["receive_mss"] = i.receive_mss;
  j["advertised_mss"] = i.advertised_mss;
  j["path_mtu"] = i.path_mtu;
}

void add_windows(Json& j, const tcp::Info& i) {
  j["cwnd"] = i.cwnd;
  if (i.ssthresh != UINT32_MAX && i.cwnd != 0) j["ssthresh"] = i.ssthresh;
  j["flight"] = i.flight;
  j["unsent"] = i.unsent;
  j["recovering"] = i.recovering;
  j["sacked"] = i.sacked;
  j["lost"] = i.lost;
  j["retransmitted"] = i.retransmitted;
  j["reordering_seen"] = i.reordering_seen;
  if (i.pacing_rate != 0 && i.pacing_rate != UINT64_MAX) j["pacing_rate"] = i.pacing_rate;
  j["send_window"] = i.snd_wnd;
  j["receive_window"] = i.rcv_wnd;
  j["send_buffer"] = i.send_buffer;
  j["receive_buffer"] = i.receive_buffer;
}

void add_traffic(Json& j, const tcp::Info& i) {
  j["bytes_sent"] = i.bytes_sent;
  j["bytes_retransmitted"] = i.bytes_retransmitted;
  j["bytes_acked"] = i.bytes_acked;
  j["bytes_received"] = i.bytes_received;
  j["delivered"] = i.delivered;
  j["segments_sent"] = i.segments_out;
  j["segments_received"] = i.segments_in;
  j["data_segments_sent"] = i.data_segments_out;
  j["data_segments_received"] = i.data_segments_in;
  j["last_sent_us_ago"] = i.since_data_sent.to_micros();
  j["last_received_us_ago"] = i.since_data_received.to_micros();
  j["last_ack_us_ago"] = i.since_ack_received.to_micros();
  j["retransmits"] = i.retransmits;
  j["timeouts"] = i.timeouts;
}

Json to_json(const Connection& c) {
  const tcp::Info& i = c.info;
  Json j{{"state", name_of(i.state)},
         {"local", text(c.local)},
         {"peer", text(c.peer)},
         {"recv_q", i.receive_queued},
         {"send_q", i.send_queued}};
  if (i.state == tcp::State::kListen || i.state == tcp::State::kTimeWait) return j;
  j["congestion"] = i.congestion;
  j["timestamps"] = i.timestamps;
  j["sack"] = i.sack;
  j["ecn"] = i.ecn;
  j["ecn_seen"] = i.ecn_seen;
  j["accurate_ecn"] = i.accurate_ecn;
  add_path(j, i);
  add_windows(j, i);
  add_traffic(j, i);
  return j;
}

Json connections(const Visit& visit, const Options&) {
  Rows<Connection> rows;
  const bool seen = visit([&](Stack& stack) {
    stack.tcp().visit_connections(
        [](void* arg, const ip::Endpoint& local, const ip::Endpoint& peer, const tcp::Info& info) {
          static_cast<Rows<Connection>*>(arg)->add({local, peer, info});
        },
        &rows);
  });
  return seen ? rows.json("tcp", [](const Connection& c) { return to_json(c); }) : Json();
}

struct Port {
  ip::Endpoint local, peer;
  bool connected;
  std::size_t queued;
};

Json ports(const Visit& visit, const Options&) {
  Rows<Port> rows;
  const bool seen = visit([&](Stack& stack) {
    stack.udp().visit_ports(
        [](void* arg, const udp::Udp::PortEntry& e) {
          const bool connected = e.peer != nullptr;
          static_cast<Rows<Port>*>(arg)->add({e.local, connected ? *e.peer : ip::Endpoint(), connected, e.queued});
        },
        &rows);
  });
  if (!seen) return {};
  return rows.json("udp", [](const Port& p) {
    return Json{{"state", p.connected ? "ESTABLISHED" : "UNCONNECTED"},
                {"local", text(p.local)},
                {"peer", text(p.peer)},
                {"recv_q", p.queued},
                {"send_q", 0}};
  });
}

Json counters(const Visit& visit, const Options&) {
  Counters now;
  if (!visit([&](Stack& stack) { now = stack.counters(); })) return {};
  Json values, drops;
  for (std::size_t i = 0; i < kCounterCount; ++i) {
    const auto c = static_cast<Counter>(i);
    values[name_of(c)] = now.get(c);
  }
  for (std::size_t i = 0; i < kDropCount; ++i) {
    const auto d = static_cast<Drop>(i);
    drops[name_of(d)] = now.get(d);
  }
  return {{"counters", values}, {"drops", drops}};
}

struct Interface {
  ip::InterfaceEntry entry;
  std::vector<ip::Prefix> addresses;
};

Json interfaces(const Visit& visit, const Options& options) {
  Rows<Interface> rows;
  const bool seen = visit([&](Stack& stack) {
    stack.ip().visit_interfaces(
        [](void* arg, const ip::InterfaceEntry& e) {
          static_cast<Rows<Interface>*>(arg)->add({e, {e.addresses.begin(), e.addresses.end()}});
        },
        &rows);
  });
  if (!seen) return {};
  return rows.json("interfaces", [&](const Interface& i) {
    Json addresses = Json::array();
    for (const ip::Prefix& a : i.addresses) addresses.push_back(text(a));
    Json j{{"interface", i.entry.id},
           {"dev", interface_name(i.entry.id)},
           {"device", options.device},
           {"state", i.entry.state == link::LinkState::kUp ? "up" : "down"},
           {"mtu", i.entry.mtu}};
    if (i.entry.medium == link::Medium::kEthernet) j["mac"] = text(i.entry.mac);
    j["addresses"] = std::move(addresses);
    return j;
  });
}

Json routes(const Visit& visit, const Options&) {
  Rows<ip::RouteEntry> rows;
  const bool seen = visit([&](Stack& stack) {
    for (const ip::RouteEntry& e : stack.ip().routes()) rows.add(e);
  });
  if (!seen) return {};
  return rows.json("routes", [](const ip::RouteEntry& e) {
    Json j{{"destination", text(e.destination)}, {"interface", e.interface}, {"dev", interface_name(e.interface)}};
    if (!e.gateway.is_any()) j["gateway"] = text(e.gateway);
    if (e.metric != 0) j["metric"] = e.metric;
    if (e.mtu != 0) j["mtu"] = e.mtu;
    return j;
  });
}

Json neighbors(const Visit& visit, const Options&) {
  Rows<ip::NeighborEntry> rows;
  Instant now;
  const bool seen = visit([&](Stack& stack) {
    now = stack.context().now;
    stack.ip().visit_neighbors(
        [](void* arg, const ip::NeighborEntry& e) { static_cast<Rows<ip::NeighborEntry>*>(arg)->add(e); }, &rows);
  });
  if (!seen) return {};
  return rows.json("neighbors", [&](const ip::NeighborEntry& e) {
    Json j{{"address", text(e.address)},
           {"interface", e.interface},
           {"dev", interface_name(e.interface)},
           {"state", e.state}};
    if (!e.mac.is_zero()) j["mac"] = text(e.mac);
    if (e.confirmed != Instant::past()) j["confirmed_s_ago"] = (now - e.confirmed).to_seconds();
    return j;
  });
}

struct Request {
  const char* name;
  Json (*answer)(const Visit& visit, const Options& options);  // null when the stack could not be had
};
constexpr Request kRequests[] = {
    {"tcp", connections},       {"udp", ports},     {"counters", counters},
    {"interfaces", interfaces}, {"routes", routes}, {"neighbors", neighbors},
};

}  // namespace

std::string control_error(const std::string& message) {
  return line_of({{"error", message}});
}

std::string control_answer(const std::string& request, const Visit& visit, const Options& options) {
  constexpr std::string_view kChange = "ip ";
  constexpr const char* kNoLoop = "the program does not run its event loop at present";
  if (request.starts_with(kChange)) {
    Result<void, std::string> done;
    const auto change = [&](Stack& stack) { done = apply_change(stack, request.substr(kChange.size())); };
    if (!visit(change)) return control_error(kNoLoop);
    return done ? line_of({{"changed", true}}) : control_error(done.error());
  }
  std::string known;
  for (const Request& r : kRequests) {
    known += std::string(" ") + r.name;
    if (request != r.name) continue;
    const Json answer = r.answer(visit, options);
    return answer.is_null() ? control_error(kNoLoop) : line_of(answer);
  }
  return control_error("no request '" + request + "'; there are:" + known + " ip");
}

}  // namespace sluice
