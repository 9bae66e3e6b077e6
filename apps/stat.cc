// sluice stat: the counters and drops of a running stack, once or what is added to them in each interval; without
// --control all counters and drop reasons there are, with their meaning.
#include <stdio.h>
#include <unistd.h>

#include <map>
#include <string>

#include "apps/commands.h"
#include "apps/control_client.h"

namespace sluice::apps {

namespace {

int print_names() {
  printf("counters (of a running stack with --control; at the end of any command with --stats)\n");
  for (std::size_t i = 0; i < kCounterCount; ++i) printf("  %s\n", name_of(static_cast<Counter>(i)));
  printf("\ndrop reasons\n");
  for (std::size_t i = 0; i < kDropCount; ++i) {
    const auto d = static_cast<Drop>(i);
    printf("  %-24s %s\n", name_of(d), meaning_of(d));
  }
  return kExitOk;
}

std::string meaning_named(const std::string& name) {
  for (std::size_t i = 0; i < kDropCount; ++i) {
    if (name == name_of(static_cast<Drop>(i))) return meaning_of(static_cast<Drop>(i));
  }
  return {};
}

using Values = std::map<std::string, std::uint64_t>;  // the counters' names, and those of drops behind this:
constexpr const char* kDropped = "dropped: ";

// What has grown since `before`, which becomes what is now; `answer` is left with that.
void subtract(Json& answer, Values& before) {
  for (auto& [group, values] : answer.items()) {
    Json grown = Json::object();
    for (const auto& [name, value] : values.items()) {
      const auto now = value.get<std::uint64_t>();
      std::uint64_t& last = before[(group == "drops" ? kDropped : "") + name];
      if (now != last) grown[name] = now - last;
      last = now;
    }
    values = grown;
  }
}

void print_text(const Json& answer) {
  for (const auto& [name, value] : answer.at("counters").items())
    printf("%14llu  %s\n", value.get<unsigned long long>(), name.c_str());
  for (const auto& [name, value] : answer.at("drops").items()) {
    printf("%14llu  %s%s (%s)\n", value.get<unsigned long long>(), kDropped, name.c_str(), meaning_named(name).c_str());
  }
}

}  // namespace

int run_stat(const Common& common, const StatOptions& options) {
  if (options.control.empty()) return print_names();
  Values before;
  for (std::uint32_t round = 0; options.count == 0 || round < options.count; ++round) {
    if (round > 0) ::usleep(static_cast<useconds_t>(options.every * 1e6));
    auto answer = ask_control(options.control, "counters");
    if (!answer || !answer->contains("counters") || !answer->contains("drops")) {
      fprintf(stderr, "stat: %s\n", answer ? "not the answer of a stack" : answer.error().c_str());
      return kExitFailed;
    }
    subtract(*answer, before);
    if (common.json) {
      printf("%s\n", answer->dump().c_str());
    } else {
      if (round > 0) printf("\n");
      print_text(*answer);
    }
    fflush(stdout);
    if (options.every == 0) break;
  }
  return kExitOk;
}

}  // namespace sluice::apps
