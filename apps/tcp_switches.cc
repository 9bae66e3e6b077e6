#include "apps/tcp_switches.h"

#include <algorithm>
#include <initializer_list>

namespace sluice::apps {

namespace {

using tcp::Switch;
using tcp::TcpConfig;

constexpr TcpSwitch kSwitches[] = {
    {"timestamps", &TcpConfig::timestamps, "round-trip measurement and PAWS (RFC 7323)"},
    {"window-scaling", &TcpConfig::window_scaling, "windows beyond 64 KiB (RFC 7323)"},
    {"sack", &TcpConfig::sack, "selective acknowledgements (RFC 2018)"},
    {"dsack", &TcpConfig::dsack, "reports of segments that came twice (RFC 2883)"},
    {"minshall", &TcpConfig::minshall, "a short end waits for short segments only, not for full ones (Nagle)"},
    {"delayed-ack", &TcpConfig::delayed_ack, "one ACK for two segments (RFC 9293)"},
    {"limited-transmit", &TcpConfig::limited_transmit, "new data on the first duplicate ACKs (RFC 3042)"},
    {"rack", &TcpConfig::rack, "loss by time (RFC 8985); off: by RFC 6675"},
    {"tlp", &TcpConfig::tail_probe, "tail loss probes (RFC 8985)"},
    {"prr", &TcpConfig::prr, "proportional rate reduction (RFC 9937)"},
    {"frto", &TcpConfig::frto, "spurious timeouts are recognised (RFC 5682)"},
    {"undo", &TcpConfig::undo, "a needless reduction is undone (RFC 3522, RFC 3708)"},
    {"initial-window-10", &TcpConfig::initial_window_10, "ten segments to begin with (RFC 6928); off: RFC 5681"},
    {"hystart", &TcpConfig::hystart, "slow start ends when round trips grow (RFC 9406; cubic)"},
    {"pacing", &TcpConfig::pacing, "spread over the round trip what controllers without a rate send"},
    {"idle-restart", &TcpConfig::idle_restart, "a small window after silence (RFC 5681)"},
    {"doubt-path-mtu", &TcpConfig::doubt_path_mtu, "a path MTU that shrinks suddenly is to be borne out (RFC 5927)"},
    {"fast-open", &TcpConfig::fast_open_client, "data in our SYNs where an app asks for it (RFC 7413)"},
    {"fast-open-server", &TcpConfig::fast_open_server, "data is taken from SYNs where a listener asks for it"},
    {"fast-open-listeners", &TcpConfig::fast_open_all_listeners, "as if each listener had asked for that"},
    {"fast-open-no-cookie", &TcpConfig::fast_open_client_no_cookie, "data in our SYNs also without a cookie"},
    {"fast-open-server-no-cookie", &TcpConfig::fast_open_server_no_cookie, "data is taken without a cookie, too"},
    {"receive-tuning", &TcpConfig::receive_tuning, "a receive buffer that grows with the path"},
    {"send-tuning", &TcpConfig::send_tuning, "a send buffer that grows with the path"},
};

constexpr std::string_view kOff = "no-";

// The values of an enum have the places of their words.
template <typename T>
bool choose(T& to, std::string_view word, std::initializer_list<std::string_view> words) {
  const auto* at = std::find(words.begin(), words.end(), word);
  if (at == words.end()) return false;
  to = static_cast<T>(at - words.begin());
  return true;
}

constexpr TcpChoice kChoices[] = {
    {"ecn", "off|classic|accurate",
     [](std::string_view w, TcpConfig& c) {
       return choose(c.ecn, w, {"off", "classic", "accurate"});
     },
     "ask the peer for congestion marks instead of losses (RFC 3168), or for their count (RFC 9768)"},
    {"ecn-answer", "off|classic|accurate",
     [](std::string_view w, TcpConfig& c) {
       return choose(c.ecn_answer, w, {"off", "classic", "accurate"});
     },
     "what is agreed to when the peer asks; default: classic"},
    {"mtu-probing", "off|black-hole|always",
     [](std::string_view w, TcpConfig& c) {
       return choose(c.mtu_probing, w, {"off", "black-hole", "always"});
     },
     "probes find out how large packets may be (RFC 4821); default: when large ones seem to vanish"},
};

}  // namespace

std::span<const TcpSwitch> tcp_switches() {
  return kSwitches;
}

std::span<const TcpChoice> tcp_choices() {
  return kChoices;
}

bool set_tcp_choice(std::string_view name, std::string_view word, TcpConfig& config) {
  for (const TcpChoice& c : kChoices) {
    if (name == c.name) return c.set(word, config);
  }
  return false;
}

bool set_tcp_switch(std::string_view word, TcpConfig& config) {
  const bool off = word.starts_with(kOff);
  if (off) word.remove_prefix(kOff.size());
  for (const TcpSwitch& s : kSwitches) {
    if (word != s.name) continue;
    config.*s.member = off ? Switch::kOff : Switch::kOn;
    return true;
  }
  return false;
}

}  // namespace sluice::apps
