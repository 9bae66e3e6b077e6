#include "apps/perf_messages.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "stack/base/byte_order.h"

namespace sluice::apps::perf {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint32_t kGreeting = 0x36373839;
constexpr std::uint32_t kOldGreeting = 123456789;
constexpr std::uint32_t kAnswer = 0x39383736;
constexpr std::uint32_t kOldAnswer = 987654321;

// iperf3's numbers of its errors.
constexpr std::int32_t kBadDuration = 5;
constexpr std::int32_t kBadStreams = 6;
constexpr std::int32_t kBadBlockSize = 7;
constexpr std::int32_t kBadOmit = 12;
constexpr std::int32_t kNotSupported = 13;

constexpr int kMaxDepth = 8;                   // of nested objects and arrays
constexpr double kExact = 9007199254740992.0;  // 2^53: whole numbers up to here are exact in a double

// What is nested deeper than messages are is left out: copying and freeing it would recurse.
Json parse_object(std::string_view text) {
  const auto shallow = [](int depth, Json::parse_event_t, const Json&) { return depth <= kMaxDepth; };
  Json parsed = Json::parse(text.begin(), text.end(), shallow, false);
  return parsed.is_object() ? std::move(parsed) : Json();
}

// A number of the object, `absent` when there is no such key. Nothing when it is no number, or not in 0 .. most.
std::optional<double> number(const Json& object, const char* key, double absent, double most) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return absent;  // JSON has no NaN: null stands for it
  if (!at->is_number()) return {};
  const double value = at->get<double>();
  if (!(value >= 0) || value > most) return {};
  return value;
}
std::optional<std::uint64_t> whole(const Json& object, const char* key, std::uint64_t absent, double most) {
  const auto value = number(object, key, static_cast<double>(absent), most);
  if (!value) return {};
  return static_cast<std::uint64_t>(*value);
}
bool flag(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && (at->is_boolean() ? at->get<bool>() : at->is_number() && at->get<double>() != 0);
}

// A receiver does not know of retransmissions and says -1, which may come out as an unsigned number.
std::optional<std::uint64_t> retransmits_of(const Json& stream) {
  return whole(stream, "retransmits", 0, kExact);
}

bool is_one_of(Bytes datagram, std::uint32_t value, std::uint32_t older) {
  if (datagram.size() != kGreetingSize) return false;
  const std::uint32_t little = load_le32(datagram.data());
  const std::uint32_t big = load_be32(datagram.data());
  return little == value || big == value || little == older || big == older;
}

Greeting bytes_of(std::uint32_t value) {
  Greeting bytes{};
  store_le32(bytes.data(), value);
  return bytes;
}

}  // namespace

std::string make_cookie(std::uint64_t random_high, std::uint64_t random_low) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  std::string cookie;
  for (std::size_t i = 0; i + 1 < kCookieSize; ++i) {
    std::uint64_t& source = i % 2 == 0 ? random_high : random_low;
    cookie += kAlphabet[source & 31];
    source = std::rotr(source, 5);
  }
  cookie += '\0';
  return cookie;
}

// --- parameters
// ------------------------------------------------------------------------------------------------------------

std::string to_json(const Parameters& p) {
  Json json;
  json[p.protocol == Protocol::kUdp ? "udp" : "tcp"] = true;
  json["omit"] = p.omit;
  json["time"] = p.bytes != 0 || p.blocks != 0 ? 0.0 : p.seconds;
  json["num"] = p.bytes;
  json["blockcount"] = p.blocks;
  if (p.max_segment != 0) json["MSS"] = p.max_segment;
  if (p.no_delay) json["nodelay"] = true;
  json["parallel"] = p.parallel;
  if (p.direction == Direction::kDownload) json["reverse"] = true;
  if (p.direction == Direction::kBoth) json["bidirectional"] = true;
  json["len"] = p.length;
  if (p.rate != 0) json["bandwidth"] = p.rate;
  json["pacing_timer"] = 1000;
  if (p.wide_counters) json["udp_counters_64bit"] = 1;
  json["client_version"] = "sluice";
  return json.dump();
}

Result<Parameters, Refusal> parse_parameters(std::string_view text) {
  const auto refuse = [](std::int32_t reason, const char* what) { return fail(Refusal{reason, what}); };
  const Json json = parse_object(text);
  if (!json.is_object()) return refuse(kNotSupported, "the parameters are no JSON object");
  for (const char* key : {"sctp", "authtoken"}) {
    if (json.contains(key)) return refuse(kNotSupported, key);
  }
  Parameters p;
  p.protocol = flag(json, "udp") ? Protocol::kUdp : Protocol::kTcp;
  p.direction = flag(json, "bidirectional") ? Direction::kBoth
                : flag(json, "reverse")     ? Direction::kDownload
                                            : Direction::kUpload;
  p.no_delay = flag(json, "nodelay");
  p.wide_counters = flag(json, "udp_counters_64bit");
  const auto seconds = number(json, "time", 10, kMaxSeconds);
  const auto omit = number(json, "omit", 0, 600);
  const auto bytes = whole(json, "num", 0, kExact);
  const auto blocks = whole(json, "blockcount", 0, kExact);
  const auto parallel = whole(json, "parallel", 1, kMaxStreams);
  const auto length = whole(json, "len", p.protocol == Protocol::kUdp ? 1448 : 128 << 10, kMaxBlock);
  const auto rate = whole(json, "bandwidth", 0, static_cast<double>(kMaxRate));
  const auto max_segment = whole(json, "MSS", 0, 32767);
  if (!seconds) return refuse(kBadDuration, "time");
  if (!omit) return refuse(kBadOmit, "omit");
  if (!parallel || *parallel == 0) return refuse(kBadStreams, "parallel");
  const std::uint64_t least =
      p.protocol == Protocol::kUdp ? header_size(p.wide_counters ? CounterWidth::k64 : CounterWidth::k32) : 1;
  if (!length || *length < least || (p.protocol == Protocol::kUdp && *length > kMaxDatagram))
    return refuse(kBadBlockSize, "len");
  if (!bytes || !blocks || !rate || !max_segment) return refuse(kNotSupported, "num, blockcount, bandwidth or MSS");
  p.seconds = *seconds;
  p.omit = *omit;
  p.bytes = *bytes;
  p.blocks = *blocks;
  p.parallel = static_cast<std::uint32_t>(*parallel);
  p.length = static_cast<std::uint32_t>(*length);
  p.rate = *rate;
  p.max_segment = static_cast<std::uint32_t>(*max_segment);
  return p;
}

// --- results
// ---------------------------------------------------------------------------------------------------------------

int stream_id(std::size_t index) {
  return static_cast<int>(index == 0 ? 1 : index + 2);
}

std::string to_json(const Results& r) {
  const bool sender_knows =
      std::any_of(r.streams.begin(), r.streams.end(), [](const StreamResult& s) { return s.retransmits.has_value(); });
  Json json = {{"cpu_util_total", r.cpu.total},
               {"cpu_util_user", r.cpu.user},
               {"cpu_util_system", r.cpu.system},
               {"sender_has_retransmits", sender_knows ? 1 : -1}};
  if (!r.congestion.empty()) json["congestion_used"] = r.congestion;
  json["streams"] = Json::array();
  for (const StreamResult& s : r.streams) {
    Json stream = {{"id", s.id}, {"bytes", s.bytes}};
    stream["retransmits"] = s.retransmits ? Json(*s.retransmits) : Json(-1);
    stream["jitter"] = s.jitter;
    stream["errors"] = s.lost;
    stream["omitted_errors"] = 0;
    stream["packets"] = s.packets;
    stream["omitted_packets"] = 0;
    stream["start_time"] = s.start;
    stream["end_time"] = s.end;
    json["streams"].push_back(std::move(stream));
  }
  return json.dump();
}

std::optional<Results> parse_results(std::string_view text) {
  constexpr double kMost = 1e9;  // of seconds and percent
  const Json json = parse_object(text);
  if (!json.is_object() || !json.contains("streams") || !json["streams"].is_array()) return {};
  Results r;
  const auto total = number(json, "cpu_util_total", 0, kMost);
  const auto user = number(json, "cpu_util_user", 0, kMost);
  const auto system = number(json, "cpu_util_system", 0, kMost);
  if (!total || !user || !system) return {};
  r.cpu = {*total, *user, *system};
  if (json.contains("congestion_used") && json["congestion_used"].is_string()) {
    r.congestion = json["congestion_used"].get<std::string>().substr(0, 32);
  }
  for (const Json& s : json["streams"]) {
    if (!s.is_object() || !s.contains("id") || !s.contains("bytes") || r.streams.size() == 2 * kMaxStreams) return {};
    const auto id = whole(s, "id", 0, 1e6);
    const auto bytes = whole(s, "bytes", 0, kExact);
    const auto jitter = number(s, "jitter", 0, kMost);
    const auto lost = whole(s, "errors", 0, kExact);
    const auto packets = whole(s, "packets", 0, kExact);
    const auto start = number(s, "start_time", 0, kMost);
    const auto end = number(s, "end_time", 0, kMost);
    const bool sound = id && bytes && jitter && lost && packets && start && end;
    if (!sound) return {};
    r.streams.push_back({static_cast<int>(*id), *bytes, retransmits_of(s), *jitter, *packets, *lost, *start, *end});
  }
  return r;
}

// --- datagrams
// -------------------------------------------------------------------------------------------------------------

Greeting greeting() {
  return bytes_of(kGreeting);
}
bool is_greeting(Bytes datagram) {
  return is_one_of(datagram, kGreeting, kOldGreeting);
}
Greeting answer_to_greeting() {
  return bytes_of(kAnswer);
}
bool is_answer_to_greeting(Bytes datagram) {
  return is_one_of(datagram, kAnswer, kOldAnswer);
}

void store(const DatagramHeader& header, CounterWidth width, std::uint8_t* out) {
  store_be32(out, header.seconds);
  store_be32(out + 4, header.microseconds);
  if (width == CounterWidth::k64) {
    store_be64(out + 8, header.number);
  } else {
    store_be32(out + 8, static_cast<std::uint32_t>(header.number));
  }
}

std::optional<DatagramHeader> parse_datagram(Bytes datagram, CounterWidth width) {
  if (datagram.size() < header_size(width)) return {};
  const std::uint8_t* p = datagram.data();
  return DatagramHeader{load_be32(p), load_be32(p + 4),
                        width == CounterWidth::k64 ? load_be64(p + 8) : load_be32(p + 8)};
}

void DatagramCount::take(const DatagramHeader& header, double arrival) {
  if (header.number > highest_) {
    lost_ += header.number - 1 - highest_;
    highest_ = header.number;
  } else {
    ++out_of_order_;
    if (lost_ > 0) --lost_;
  }
  const double transit = arrival - (header.seconds + header.microseconds / 1e6);
  if (transit_) jitter_ += (std::abs(transit - *transit_) - jitter_) / 16;
  transit_ = transit;
}

}  // namespace sluice::apps::perf
