// The mechanisms of TCP that the command line can turn on and off. One row makes --NAME and --no-NAME of the commands
// that take them, and NAME and no-NAME of a flow of `sluice sim`.
#pragma once

#include <span>
#include <string_view>

#include "sluice/runtime.hpp"

namespace sluice::apps {

struct TcpSwitch {
  const char* name;
  tcp::Switch tcp::TcpConfig::*member;
  const char* help;
};
std::span<const TcpSwitch> tcp_switches();

// Those with more than two states: --NAME WORD, and NAME=WORD of a flow.
struct TcpChoice {
  const char* name;
  const char* words;                                           // "off|on|always"
  bool (*set)(std::string_view word, tcp::TcpConfig& config);  // false, and nothing done: not one of them
  const char* help;
};
std::span<const TcpChoice> tcp_choices();

// False, and nothing done, when there is no such choice, or it has no such word.
bool set_tcp_choice(std::string_view name, std::string_view word, tcp::TcpConfig& config);

// "delayed-ack" turns it on, "no-delayed-ack" off. False, and nothing done, when there is no such switch.
bool set_tcp_switch(std::string_view word, tcp::TcpConfig& config);

}  // namespace sluice::apps
