// The shell commands of scripts that set up a Linux host: sysctl, tc and ip. Here they set up the stack instead, so
// that a script neither needs the host's privileges nor changes the host.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "drivers/packetdrill/session.h"

namespace sluice::packetdrill {

// A command line cut at newlines, ';' and '&&', and those at blanks; quotes are taken off, comments left out.
struct Command {
  std::string text;                // as it was written
  std::vector<std::string> words;  // at least one
};
std::vector<Command> split_commands(std::string_view line);

// True when the command is about the network of the host, and so has been dealt with here.
bool run_command(Session& session, const Command& command);

}  // namespace sluice::packetdrill
