// sluice ip: addresses, links, routes and neighbours of a running stack, in the style of iproute2's ip.
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

void print_link(const Json& i) {
  printf("%u: %s: mtu %u\n", number(i, "interface"), word(i, "device").c_str(), number(i, "mtu"));
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
  printf(" dev %u", number(r, "interface"));
  if (const unsigned metric = number(r, "metric"); metric != 0) printf(" metric %u", metric);
  printf("\n");
}

void print_neighbor(const Json& n) {
  std::string state = word(n, "state");
  for (char& c : state) c = static_cast<char>(toupper(c));
  const std::string mac = word(n, "mac");
  printf("%s dev %u%s%s %s\n", word(n, "address").c_str(), number(n, "interface"), mac.empty() ? "" : " lladdr ",
         mac.c_str(), state.c_str());
}

struct Object {
  const char* name;
  const char* request;  // and the name of the rows in the answer
  void (*print)(const Json& row);
};
constexpr std::array kObjects = {
    Object{"address", "interfaces", print_addresses},
    Object{"link", "interfaces", print_link},
    Object{"route", "routes", print_route},
    Object{"neighbour", "neighbors", print_neighbor},
};

// As with iproute2 any beginning of the name will do.
const Object* object_named(const std::string& name) {
  for (const Object& o : kObjects) {
    if (!name.empty() && std::string(o.name).starts_with(name)) return &o;
  }
  return nullptr;
}

}  // namespace

int run_ip(const Common& common, const IpOptions& options) {
  const Object* object = object_named(options.object);
  if (object == nullptr) {
    fprintf(stderr, "ip: '%s' is nothing that can be shown; there are: addr link route neigh\n",
            options.object.c_str());
    return kExitUsage;
  }
  const auto answer = ask_control(options.control, object->request);
  if (!answer) {
    fprintf(stderr, "ip: %s\n", answer.error().c_str());
    return kExitFailed;
  }
  const Json rows = answer->value(object->request, Json::array());
  if (common.json) return printf("%s\n", rows.dump(2).c_str()), kExitOk;
  for (const Json& row : rows) object->print(row);
  return kExitOk;
}

}  // namespace sluice::apps
