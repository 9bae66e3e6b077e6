#include "apps/perf_report.h"

#include <stdio.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

namespace sluice::apps::perf {

namespace {

using Counted = Line::Counted;

double seconds(const Line& line) {
  return std::max(line.end - line.start, 1e-9);
}
double bits_per_second(const Line& line) {
  return static_cast<double>(line.tally.bytes) * 8 / seconds(line);
}
double lost_percent(const Tally& t) {
  return t.packets > 0 ? 100.0 * static_cast<double>(t.lost) / static_cast<double>(t.packets) : 0;
}
unsigned long long print_form(std::uint64_t n) {
  return n;
}

Line sum_of(const std::vector<Line>& lines) {
  Line sum = lines.front();
  sum.id = 0;
  sum.tally = {};
  sum.jitter = 0;
  for (const Line& line : lines) {
    sum.end = std::max(sum.end, line.end);
    sum.tally.bytes += line.tally.bytes;
    sum.tally.retransmits += line.tally.retransmits;
    sum.tally.packets += line.tally.packets;
    sum.tally.lost += line.tally.lost;
    sum.tally.out_of_order += line.tally.out_of_order;
    sum.jitter += line.jitter / static_cast<double>(lines.size());
  }
  return sum;
}

// The result of one stream, or an empty one when that end has told nothing about it.
StreamResult result_of(const Results& results, int id) {
  for (const StreamResult& s : results.streams) {
    if (s.id == id) return s;
  }
  return {};
}

}  // namespace

std::string with_prefix(double value, double base) {
  const char* prefix = " KMGT";
  for (; value >= base * 0.9995 && prefix[1] != 0; ++prefix) value /= base;
  char text[32];
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  snprintf(text, sizeof text, *prefix == ' ' ? "%4.*f " : "%4.*f %c", digits, value, *prefix);
  return text;
}

struct Report::Json {
  using Object = nlohmann::ordered_json;
  Object root;

  [[nodiscard]] static Object of(const Line& line, Protocol protocol) {
    Object o;
    if (line.id != 0) o["socket"] = line.id;
    o["start"] = line.start;
    o["end"] = line.end;
    o["seconds"] = seconds(line);
    o["bytes"] = line.tally.bytes;
    o["bits_per_second"] = bits_per_second(line);
    const bool by_sender =
        line.counted == Counted::kBySender || (line.counted == Counted::kHere && line.role == Role::kSender);
    if (protocol == Protocol::kUdp) {
      if (line.counted != Counted::kHere || !by_sender) {
        o["jitter_ms"] = line.jitter * 1e3;
        o["lost_packets"] = line.tally.lost;
        o["lost_percent"] = lost_percent(line.tally);
        if (!by_sender) o["out_of_order"] = line.tally.out_of_order;
      }
      o["packets"] = line.tally.packets;
    } else if (by_sender) {
      o["retransmits"] = line.tally.retransmits;
      if (line.counted == Counted::kHere && line.id != 0) {
        o["snd_cwnd"] = line.congestion_window;
        o["rtt"] = line.round_trip.to_micros();
      }
    }
    if (line.counted == Counted::kHere) o["omitted"] = false;
    o["sender"] = line.role == Role::kSender;
    return o;
  }
};

Report::Report(Side side, Format format, const Parameters& parameters)
    : side_(side), format_(format), parameters_(parameters), json_(std::make_unique<Json>()) {
  Json::Object& start = json_->root["start"];
  start["connected"] = Json::Object::array();
  start["version"] = "sluice";
  start["timestamp"]["timesecs"] = static_cast<std::int64_t>(std::time(nullptr));
  start["test_start"] = {{"protocol", udp() ? "UDP" : "TCP"},
                         {"num_streams", parameters_.parallel},
                         {"blksize", parameters_.length},
                         {"omit", parameters_.omit},
                         {"duration", parameters_.seconds},
                         {"bytes", parameters_.bytes},
                         {"blocks", parameters_.blocks},
                         {"reverse", parameters_.direction == Direction::kDownload ? 1 : 0},
                         {"bidir", parameters_.direction == Direction::kBoth ? 1 : 0},
                         {"target_bitrate", parameters_.rate}};
  json_->root["intervals"] = Json::Object::array();
}
Report::~Report() = default;

void Report::peer(const wire::Endpoint& peer, const std::string& cookie) {
  const std::string host = to_text(peer.address).c_str();
  json_->root["start"][side_ == Side::kClient ? "connecting_to" : "accepted_connection"] = {{"host", host},
                                                                                            {"port", peer.port}};
  json_->root["start"]["cookie"] = cookie.c_str();  // without its NUL
  if (format_ == Format::kJson) return;
  if (side_ == Side::kServer) printf("Accepted connection from %s, port %u\n", host.c_str(), peer.port);
  if (side_ == Side::kClient) printf("Connecting to host %s, port %u\n", host.c_str(), peer.port);
  if (side_ == Side::kClient && parameters_.direction == Direction::kDownload) {
    printf("Reverse mode, remote host %s is sending\n", host.c_str());
  }
}

void Report::begin(const std::vector<Streams::Ends>& streams) {
  streams_ = streams;
  for (const Streams::Ends& s : streams_) {
    const std::string local = to_text(s.local.address).c_str();
    const std::string remote = to_text(s.peer.address).c_str();
    json_->root["start"]["connected"].push_back({{"socket", s.id},
                                                 {"local_host", local},
                                                 {"local_port", s.local.port},
                                                 {"remote_host", remote},
                                                 {"remote_port", s.peer.port}});
    if (format_ == Format::kText) {
      printf("[%3d] local %s port %u connected to %s port %u\n", s.id, local.c_str(), s.local.port, remote.c_str(),
             s.peer.port);
    }
  }
  if (format_ == Format::kText) print_header(Header::kIntervals);
}

bool Report::has(Role role) const {
  return std::any_of(streams_.begin(), streams_.end(), [role](const auto& s) { return s.role == role; });
}

void Report::print_header(Header header) const {
  printf("[ ID]%s Interval           Transfer     Bitrate", parameters_.direction == Direction::kBoth ? "[Role]" : "");
  const bool sends = header == Header::kWholeTest || has(Role::kSender);
  if (!udp()) {
    printf("%s", sends ? header == Header::kWholeTest ? "         Retr" : "         Retr  Cwnd" : "");
  } else {
    const bool receives = header == Header::kWholeTest || has(Role::kReceiver);
    printf("%s", receives ? "         Jitter    Lost/Total Datagrams" : "         Total Datagrams");
  }
  printf("\n");
  fflush(stdout);
}

void Report::print(const Line& line) const {
  line.id != 0 ? void(printf("[%3d]", line.id)) : void(printf("[SUM]"));
  if (parameters_.direction == Direction::kBoth) {
    printf("[%s-%c]", line.role == Role::kSender ? "TX" : "RX", side_ == Side::kClient ? 'C' : 'S');
  }
  printf(" %6.2f-%-6.2f sec  %sBytes  %sbits/sec", line.start, line.end,
         with_prefix(static_cast<double>(line.tally.bytes), 1024).c_str(),
         with_prefix(bits_per_second(line), 1000).c_str());
  const Tally& t = line.tally;
  const bool by_sender =
      line.counted == Counted::kBySender || (line.counted == Counted::kHere && line.role == Role::kSender);
  if (udp() && line.counted == Counted::kHere && by_sender) {
    printf("            %llu", print_form(t.packets));
  } else if (udp()) {
    printf("  %5.3f ms  %llu/%llu (%.2g%%)", line.jitter * 1e3, print_form(t.lost), print_form(t.packets),
           lost_percent(t));
  } else if (by_sender) {
    printf("  %3llu", print_form(t.retransmits));
    if (line.counted == Counted::kHere && line.id != 0)
      printf("   %sBytes", with_prefix(line.congestion_window, 1024).c_str());
  } else {
    printf("     ");
  }
  if (line.counted == Counted::kBySender) printf("%ssender", udp() ? "  " : "             ");
  if (line.counted == Counted::kByReceiver) printf("%sreceiver", udp() ? "  " : "             ");
  printf("\n");
}

void Report::interval(const std::vector<Sample>& samples) {
  const bool several = samples.size() > 1;
  Json::Object& object = json_->root["intervals"].emplace_back();
  if (several && intervals_ > 0 && format_ == Format::kText)
    printf("- - - - - - - - - - - - - - - - - - - - - - - - -\n");
  ++intervals_;
  for (const Role role : {Role::kSender, Role::kReceiver}) {
    std::vector<Line> lines;
    for (const Sample& s : samples) {
      if (s.role != role) continue;
      lines.push_back(
          {s.id, s.role, Counted::kHere, s.start, s.end, s.tally, s.congestion_window, s.round_trip, s.jitter});
      object["streams"].push_back(Json::of(lines.back(), parameters_.protocol));
      if (format_ == Format::kText) print(lines.back());
    }
    if (lines.empty()) continue;
    const Line sum = sum_of(lines);
    const bool second = role == Role::kReceiver && has(Role::kSender);
    object[second ? "sum_bidir_reverse" : "sum"] = Json::of(sum, parameters_.protocol);
    if (format_ == Format::kText && lines.size() > 1) print(sum);
  }
  fflush(stdout);
}

// Bytes and time as the one or the other has counted; what only a receiver can know of datagrams stands in both.
Line Report::final_line(const Streams::Ends& stream, Counted counted, const Results& sender,
                        const Results& receiver) const {
  const StreamResult sent = result_of(sender, stream.id);
  const StreamResult received = result_of(receiver, stream.id);
  const StreamResult& r = counted == Counted::kBySender ? sent : received;
  Line line{stream.id, stream.role, counted, 0, r.end - r.start, {}, 0, {}, 0};
  line.tally = {r.bytes, sent.retransmits.value_or(0), r.packets, 0, 0};
  if (counted == Counted::kByReceiver) {
    line.jitter = received.jitter;
    line.tally.lost = received.lost;
  }
  return line;
}

void Report::end(const Results& ours, const std::optional<Results>& theirs) {
  const Results remote = theirs.value_or(Results{});
  Json::Object& end = json_->root["end"];
  end["streams"] = Json::Object::array();
  end["streams"].get_ref<Json::Object::array_t&>().resize(streams_.size());
  if (format_ == Format::kText) {
    printf("- - - - - - - - - - - - - - - - - - - - - - - - -\n");
    print_header(Header::kWholeTest);
  }
  for (const Role role : {Role::kSender, Role::kReceiver}) {
    const bool second = role == Role::kReceiver && has(Role::kSender);
    const Results& sender = role == Role::kSender ? ours : remote;
    const Results& receiver = role == Role::kSender ? remote : ours;
    std::vector<Line> by_sender, by_receiver;
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      if (streams_[i].role != role) continue;
      by_sender.push_back(final_line(streams_[i], Counted::kBySender, sender, receiver));
      by_receiver.push_back(final_line(streams_[i], Counted::kByReceiver, sender, receiver));
      const Json::Object first = Json::of(by_sender.back(), parameters_.protocol);
      const Json::Object last = Json::of(by_receiver.back(), parameters_.protocol);
      end["streams"][i] = udp() ? Json::Object{{"udp", last}} : Json::Object{{"sender", first}, {"receiver", last}};
      if (format_ == Format::kJson) continue;
      if (theirs || role == Role::kSender) print(by_sender.back());
      if (theirs || role == Role::kReceiver) print(by_receiver.back());
    }
    if (by_sender.empty()) continue;
    const std::string suffix = second ? "_bidir_reverse" : "";
    end["sum_sent" + suffix] = Json::of(sum_of(by_sender), parameters_.protocol);
    end["sum_received" + suffix] = Json::of(sum_of(by_receiver), parameters_.protocol);
    if (udp()) end["sum" + suffix] = end["sum_received" + suffix];
    if (format_ == Format::kJson || by_sender.size() == 1) continue;
    if (theirs || role == Role::kSender) print(sum_of(by_sender));
    if (theirs || role == Role::kReceiver) print(sum_of(by_receiver));
  }
  end["cpu_utilization_percent"] = {{"host_total", ours.cpu.total},   {"host_user", ours.cpu.user},
                                    {"host_system", ours.cpu.system}, {"remote_total", remote.cpu.total},
                                    {"remote_user", remote.cpu.user}, {"remote_system", remote.cpu.system}};
  if (!ours.congestion.empty()) {
    const bool sends = has(Role::kSender);
    end[sends ? "sender_tcp_congestion" : "receiver_tcp_congestion"] = ours.congestion;
    if (!remote.congestion.empty())
      end[sends ? "receiver_tcp_congestion" : "sender_tcp_congestion"] = remote.congestion;
  }
  if (format_ == Format::kJson) printf("%s\n", json_->root.dump(1).c_str());
  fflush(stdout);
}

void Report::error(const std::string& what) {
  fprintf(stderr, "perf: %s\n", what.c_str());
  if (format_ == Format::kText) return;
  json_->root["error"] = what;
  printf("%s\n", json_->root.dump(1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  fflush(stdout);
}

}  // namespace sluice::apps::perf
