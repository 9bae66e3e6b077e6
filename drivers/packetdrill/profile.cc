// Profiles as sets of ordinary options; sysctls by name.
#include "drivers/packetdrill/profile.h"

#include <charconv>
#include <cstdlib>

#include "stack/tcp/cc/registry.h"

namespace sluice::packetdrill {
namespace {

using tcp::Switch;
using tcp::TcpConfig;

TcpConfig plain_tcp() {
  TcpConfig c;
  c.receive_tuning = Switch::kOff;
  c.send_tuning = Switch::kOff;
  c.receive_buffer = 65535;
  c.quick_acks = 0;
  c.challenge_acks = UINT32_MAX;
  return c;
}

// The n-th of the words between blanks, as a number; `missing` when there is none. 0x is understood.
std::int64_t number_at(std::string_view text, int n, std::int64_t missing = 0) {
  std::string copy(text);
  const char* at = copy.c_str();
  for (int i = 0;; ++i) {
    char* end = nullptr;
    const long long value = std::strtoll(at, &end, 0);
    if (end == at) return missing;
    if (i == n) return value;
    at = end;
  }
}

Switch to_switch(std::string_view value) {
  return number_at(value, 0) != 0 ? Switch::kOn : Switch::kOff;
}

void set_range(std::string_view value, std::size_t& first, std::size_t& most) {
  first = static_cast<std::size_t>(number_at(value, 1, static_cast<std::int64_t>(first)));
  most = static_cast<std::size_t>(number_at(value, 2, static_cast<std::int64_t>(most)));
}

// What no segment could have is left as it was.
void set_mss(std::uint16_t& to, std::string_view value) {
  const std::int64_t wanted = number_at(value, 0);
  if (wanted >= 48 && wanted <= UINT16_MAX) to = static_cast<std::uint16_t>(wanted);
}

// The bits of Linux's sysctl.
void set_fast_open(TcpConfig& c, std::int64_t bits) {
  const auto bit = [bits](std::int64_t mask) { return (bits & mask) != 0 ? Switch::kOn : Switch::kOff; };
  c.fast_open_client = bit(0x1);
  c.fast_open_server = bit(0x2);
  c.fast_open_client_no_cookie = bit(0x4);
  c.fast_open_server_no_cookie = bit(0x200);
  c.fast_open_all_listeners = bit(0x400);
}

// One key or two with a comma between: each four words of 32 bits in hex, "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4", whose
// bytes stand with the lowest first.
void set_fast_open_keys(TcpConfig& c, std::string_view text) {
  tcp::FastOpenKeys keys;
  std::size_t at = 0;
  for (std::size_t word = 0; word < 8 && at < text.size(); ++word) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), value, 16);
    if (error != std::errc()) return;
    at = static_cast<std::size_t>(end - text.data()) + 1;
    for (std::size_t i = 0; i < 4; ++i) {
      keys.key[word / 4][word % 4 * 4 + i] = static_cast<std::uint8_t>(value >> 8 * i);
    }
    if (word % 4 == 3) keys.count = static_cast<std::uint8_t>(word / 4 + 1);
  }
  if (keys.count > 0) c.fast_open_keys = keys;
}

TcpConfig linux_tcp() {
  TcpConfig c;
  c.congestion = tcp::cc::index_of("cubic");
  c.mtu_probing = tcp::MtuProbing::kOff;
  c.idle_restart = Switch::kOff;
  c.burst_sizing = Switch::kOn;
  c.send_blocks = Switch::kOn;
  c.probe_with_data = Switch::kOff;
  c.minshall = Switch::kOn;
  c.count_memory = Switch::kOn;
  c.require_timestamps = Switch::kOff;
  c.unpaced_segments = 10;
  c.slow_start_limit = Switch::kOff;
  c.count_sacked = Switch::kOff;
  c.reduce_flight = Switch::kOff;
  c.ecn_answer = tcp::EcnUse::kOff;  // as the defaults.sh of the tool sets it
  c.answer_unsent_ack = Switch::kOff;
  c.rto_margin = 200_ms;
  c.timer_slack = 2_ms;
  c.receive_buffer = 540000;
  c.max_receive_buffer = 15u << 20;
  c.send_buffer = 256u << 10;
  c.max_send_buffer = 4u << 20;
  set_fast_open(c, 0x70403);  // what the tool's defaults.sh sets
  set_fast_open_keys(c, "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4");
  return c;
}

struct Row {
  std::string_view name;
  void (*apply)(TcpConfig& tcp, std::string_view value);
};
constexpr Row kSysctls[] = {
    {"tcp_timestamps", [](TcpConfig& c, std::string_view v) { c.timestamps = to_switch(v); }},
    {"tcp_window_scaling", [](TcpConfig& c, std::string_view v) { c.window_scaling = to_switch(v); }},
    {"tcp_sack", [](TcpConfig& c, std::string_view v) { c.sack = to_switch(v); }},
    {"tcp_dsack", [](TcpConfig& c, std::string_view v) { c.dsack = to_switch(v); }},
    {"tcp_ecn",
     [](TcpConfig& c, std::string_view v) {
       using enum tcp::EcnUse;
       constexpr tcp::EcnUse kAsked[] = {kOff, kClassic, kOff, kAccurate, kClassic, kOff};
       constexpr tcp::EcnUse kAnswered[] = {kOff, kClassic, kClassic, kAccurate, kAccurate, kAccurate};
       const auto n = static_cast<std::size_t>(number_at(v, 0));
       if (n >= std::size(kAsked)) return;
       c.ecn = kAsked[n];
       c.ecn_answer = kAnswered[n];
     }},
    {"tcp_slow_start_after_idle", [](TcpConfig& c, std::string_view v) { c.idle_restart = to_switch(v); }},
    {"tcp_notsent_lowat",
     [](TcpConfig& c, std::string_view v) { c.notsent_low = static_cast<std::uint32_t>(number_at(v, 0)); }},
    {"tcp_pacing", [](TcpConfig& c, std::string_view v) { c.pacing = to_switch(v); }},  // Linux has a qdisc for it
    {"tcp_min_tso_segs",
     [](TcpConfig& c, std::string_view v) { c.least_burst = static_cast<std::uint8_t>(number_at(v, 0, 2)); }},
    {"tcp_early_retrans", [](TcpConfig& c, std::string_view v) { c.tail_probe = to_switch(v); }},
    {"tcp_recovery", [](TcpConfig& c, std::string_view v) { c.rack = to_switch(v); }},
    {"tcp_frto", [](TcpConfig& c, std::string_view v) { c.frto = to_switch(v); }},
    {"tcp_mtu_probing",
     [](TcpConfig& c, std::string_view v) { c.mtu_probing = static_cast<tcp::MtuProbing>(number_at(v, 0) % 3); }},
    {"tcp_base_mss", [](TcpConfig& c, std::string_view v) { set_mss(c.mtu_base_mss, v); }},
    {"tcp_mtu_probe_floor", [](TcpConfig& c, std::string_view v) { set_mss(c.mtu_floor_mss, v); }},
    {"tcp_syncookies",
     [](TcpConfig& c, std::string_view v) { c.syn_cookies = static_cast<tcp::SynCookieUse>(number_at(v, 0, 1) % 3); }},
    {"tcp_moderate_rcvbuf", [](TcpConfig& c, std::string_view v) { c.receive_tuning = to_switch(v); }},
    {"tcp_rmem", [](TcpConfig& c, std::string_view v) { set_range(v, c.receive_buffer, c.max_receive_buffer); }},
    {"tcp_wmem", [](TcpConfig& c, std::string_view v) { set_range(v, c.send_buffer, c.max_send_buffer); }},
    {"tcp_congestion_control",
     [](TcpConfig& c, std::string_view v) {
       if (const std::uint8_t index = tcp::cc::index_of(v); index != 0) c.congestion = index;
     }},
    {"tcp_fastopen", [](TcpConfig& c, std::string_view v) { set_fast_open(c, number_at(v, 0)); }},
    {"tcp_fastopen_key", [](TcpConfig& c, std::string_view v) { set_fast_open_keys(c, v); }},
    {"tcp_fastopen_blackhole_timeout_sec",
     [](TcpConfig& c, std::string_view v) { c.fast_open_rest = Duration::seconds(number_at(v, 0)); }},
    {"tcp_fin_timeout",
     [](TcpConfig& c, std::string_view v) { c.fin_wait2_time = Duration::seconds(number_at(v, 0, 60)); }},
};

bool set_local(Profile& profile, std::string_view value) {
  std::string text(value);
  if (text.find('/') == std::string::npos) text += "/16";
  const auto prefix = wire::parse_prefix(text);
  if (!prefix || !prefix->address.is_v4()) return false;
  profile.local = *prefix;
  return true;
}

bool set_mtu(Profile& profile, std::string_view value) {
  std::uint32_t mtu = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), mtu);
  if (error != std::errc() || end != value.data() + value.size() || mtu < 68 || mtu > 65535) return false;
  profile.mtu = mtu;
  return true;
}

bool apply_word(Profile& profile, std::string_view word) {
  const std::size_t equal = word.find('=');
  if (equal == std::string_view::npos) return false;
  const std::string_view name = word.substr(0, equal);
  const std::string_view value = word.substr(equal + 1);
  if (name == "local") return set_local(profile, value);
  if (name == "mtu") return set_mtu(profile, value);
  if (name != "profile") return apply_sysctl(profile, name, value);
  if (value != "linux" && value != "plain") return false;
  profile.kind = value == "linux" ? Profile::Kind::kLinux : Profile::Kind::kPlain;
  return reset_sysctls(profile), true;
}

}  // namespace

void reset_sysctls(Profile& profile) {
  profile.stack.tcp = profile.kind == Profile::Kind::kLinux ? linux_tcp() : plain_tcp();
}

bool apply_sysctl(Profile& profile, std::string_view name, std::string_view value) {
  for (const Row& row : kSysctls) {
    if (row.name == name) return row.apply(profile.stack.tcp, value), true;
  }
  return false;
}

Result<Profile, std::string> parse_profile(std::string_view flags) {
  Profile profile;
  profile.stack.seed = Rng::seed_from(1);  // each run is the same
  reset_sysctls(profile);
  while (!flags.empty()) {
    const std::size_t n = flags.find(',');
    const std::string_view word = flags.substr(0, n);
    flags.remove_prefix(n == std::string_view::npos ? flags.size() : n + 1);
    if (!word.empty() && !apply_word(profile, word)) return fail(std::string(word));
  }
  return profile;
}

}  // namespace sluice::packetdrill
