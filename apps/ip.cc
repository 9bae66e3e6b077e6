// sluice ip: addresses, links, routes and neighbours of a running stack, shown and changed in the words of iproute2's
// ip.
#include <stdio.h>

#include <array>
#include <cctype>
#include <string>

#include "apps/commands.h"
#include "apps/control_client.h"

namespace sluice::apps {

namespace {

std::string word(const Json& j, const char* name) {
  return j.value(name, std::string());
}
unsigned number(const Json& j, const char* name) {
  return j.value(name, 0u);
}
std::string upper(std::string s) {
  for (char& c : s) c = static_cast<char>(toupper(c));
  return s;
}

void print_link(const Json& i) {
  printf("%u: %s: mtu %u state %s device %s\n", number(i, "interface"), word(i, "dev").c_str(), number(i, "mtu"),
         upper(word(i, "state")).c_str(), word(i, "device").c_str());
  const std::string mac = word(i, "mac");
  printf("    link/%s\n", mac.empty() ? "none" : ("ether " + mac).c_str());
}

void print_addresses(const Json& i) {
  print_link(i);
  for (const Json& address : i.value("addresses", Json::array()))
    printf("    inet %s\n", address.get<std::string>().c_str());
}

void print_route(const Json& r) {
  const std::string destination = word(r, "destination"), gateway = word(r, "gateway");
  printf("%s", destination == "0.0.0.0/0" ? "default" : destination.c_str());
  if (!gateway.empty()) printf(" via %s", gateway.c_str());
  printf(" dev %s", word(r, "dev").c_str());
  if (const unsigned metric = number(r, "metric"); metric != 0) printf(" metric %u", metric);
  printf("\n");
}

void print_neighbor(const Json& n) {
  const std::string mac = word(n, "mac");
  printf("%s dev %s%s%s %s\n", word(n, "address").c_str(), word(n, "dev").c_str(), mac.empty() ? "" : " lladdr ",
         mac.c_str(), upper(word(n, "state")).c_str());
}

struct Object {
  const char* name;
  const char* request;  // and the name of the rows in the answer
  void (*print)(const Json& row);
};
constexpr std::array kObjects = {
    Object{"address", "interfaces", print_addresses}, Object{"link", "interfaces", print_link},
    Object{"route", "routes", print_route},           Object{"neighbour", "neighbors", print_neighbor},
    Object{"neighbor", "neighbors", print_neighbor},
};

// As with iproute2 any beginning of the name will do.
const Object* object_named(const std::string& name) {
  for (const Object& o : kObjects) {
    if (!name.empty() && std::string(o.name).starts_with(name)) return &o;
  }
  return nullptr;
}

bool says_show(const std::string& word) {
  return word == "list" || word == "lst" || std::string("show").starts_with(word);
}

int complain(const std::string& message, int code) {
  fprintf(stderr, "ip: %s\n", message.c_str());
  return code;
}

// All of it, or what belongs to one interface.
int show(const Common& common, const IpOptions& options, const Object& object) {
  const auto& words = options.words;  // show [[dev] INTERFACE]
  const bool dev_said = words.size() > 1 && words[1] == "dev";
  if (words.size() > (dev_said ? 3u : 2u) || (dev_said && words.size() == 2)) {
    return complain("what is shown can be chosen by `dev INTERFACE` only", kExitUsage);
  }
  const std::string dev = words.size() > 1 ? words.back() : "";
  const auto answer = ask_control(options.control, object.request);
  if (!answer) return complain(answer.error(), kExitFailed);
  Json rows = Json::array();
  for (const Json& row : answer->value(object.request, Json::array())) {
    if (dev.empty() || dev == word(row, "dev") || dev == std::to_string(number(row, "interface"))) rows.push_back(row);
  }
  if (common.json) return printf("%s\n", rows.dump(2).c_str()), kExitOk;
  for (const Json& row : rows) object.print(row);
  return kExitOk;
}

int change(const IpOptions& options) {
  std::string request = "ip " + options.object;
  for (const std::string& word : options.words) request += " " + word;
  const auto answer = ask_control(options.control, request);
  return answer ? kExitOk : complain(answer.error(), kExitFailed);
}

}  // namespace

int run_ip(const Common& common, const IpOptions& options) {
  const Object* object = object_named(options.object);
  if (object == nullptr) {
    return complain("'" + options.object + "' is nothing that can be shown; there are: addr link route neigh",
                    kExitUsage);
  }
  const bool shows = options.words.empty() || says_show(options.words[0]);
  return shows ? show(common, options, *object) : change(options);
}

}  // namespace sluice::apps
