#include "drivers/runtime/control_changes.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <optional>
#include <vector>

#include "drivers/runtime/interface_requests.h"

namespace sluice {

namespace {

using Done = Result<void, std::string>;
using Word = std::string_view;
using Words = std::vector<Word>;

constexpr std::uint8_t kHostLength = 32;  // bits

Unexpected<std::string> refuse(std::initializer_list<Word> pieces) {
  std::string text;
  for (const Word piece : pieces) text += piece;
  return {std::move(text)};
}

Words words_of(Word text) {
  Words words;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    if (text.empty()) return words;
    const std::size_t end = std::min(text.find(' '), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

ip::Prefix network_of(const ip::Prefix& p) {
  const std::uint32_t mask = p.length == 0 ? 0 : 0xffffffffu << (kHostLength - p.length);
  return {wire::Ipv4Address{p.address.v4().value & mask}, p.length};
}

template <typename T>
std::string text(const T& value) {
  return std::string(wire::to_text(value).view());
}

// One request. The words are read and judged before anything is changed.
class Change {
 public:
  Change(ip::Ip& ip, Words words) : ip_(ip), words_(std::move(words)) {}
  Done run();

 private:
  struct Command {
    Word object, verb;
    Word subject;  // what stands behind the verb, for people; empty: nothing
    Word options;  // that it takes, each between spaces
    Done (Change::*apply)();
  };
  static const Command kCommands[];

  [[nodiscard]] Result<const Command*, std::string> find_command() const;
  Done read(const Command& command);
  Done read_option(Word name, const Command& command);
  Done read_value(Word name, Word value);
  Done read_interface(Word name);
  Done read_mac(Word value);
  Done need_interface();
  Done need_neighbors();
  Result<ip::Prefix, std::string> host() const;
  Result<ip::Prefix, std::string> destination() const;
  Result<ip::Address, std::string> neighbor() const;
  [[nodiscard]] bool matches(const ip::RouteEntry& route, const ip::Prefix& destination) const;

  Done add_address();
  Done remove_address();
  Done set_link();
  Done add_route();
  Done replace_route();
  Done remove_route();
  Done add_neighbor() { return set_neighbor(ip::Ip::Known::kKeep); }
  Done replace_neighbor() { return set_neighbor(ip::Ip::Known::kReplace); }
  Done set_neighbor(ip::Ip::Known known);
  Done remove_neighbor();
  Done flush_neighbors();

  ip::Ip& ip_;
  Words words_;

  Word subject_;
  ip::InterfaceId interface_ = ip::kNoInterface;  // kNoInterface: not said
  std::optional<ip::Address> gateway_;
  std::optional<wire::MacAddress> mac_;
  std::optional<std::uint32_t> mtu_, metric_;
  std::optional<link::LinkState> state_;
};

const Change::Command Change::kCommands[] = {
    {"address", "add", "ADDRESS/LENGTH", " dev ", &Change::add_address},
    {"address", "delete", "ADDRESS[/LENGTH]", " dev ", &Change::remove_address},
    {"link", "set", "INTERFACE", " up down mtu address ", &Change::set_link},
    {"route", "add", "PREFIX or default", " via dev metric ", &Change::add_route},
    {"route", "replace", "PREFIX or default", " via dev metric ", &Change::replace_route},
    {"route", "delete", "PREFIX or default", " via dev metric ", &Change::remove_route},
    {"neighbour", "add", "ADDRESS", " lladdr dev nud ", &Change::add_neighbor},
    {"neighbour", "replace", "ADDRESS", " lladdr dev nud ", &Change::replace_neighbor},
    {"neighbour", "delete", "ADDRESS", " dev ", &Change::remove_neighbor},
    {"neighbour", "flush", "", " all dev ", &Change::flush_neighbors},
};

Done Change::run() {
  const auto command = find_command();
  if (!command) return fail(command.error());
  if (const Done done = read(**command); !done) return done;
  return (this->*(*command)->apply)();
}

// Any beginning of a name will do, as with iproute2.
Result<const Change::Command*, std::string> Change::find_command() const {
  const Word object = words_.empty() ? Word() : words_[0] == "neighbor" ? Word("neighbour") : words_[0];
  const Word verb = words_.size() < 2 ? Word() : words_[1];
  std::string verbs;
  for (const Command& c : kCommands) {
    if (object.empty() || !c.object.starts_with(object)) continue;
    if (!verb.empty() && c.verb.starts_with(verb)) return &c;
    verbs += std::string(verbs.empty() ? "" : ", ") + std::string(c.verb);
  }
  if (verbs.empty()) return refuse({"'", object, "' is nothing that can be changed; there are: addr link route neigh"});
  return refuse({"'", verb, "' is no change of ", object, "; there are: ", verbs});
}

// --- what the words say ----------------------------------------------------------------------------------------------

Done Change::read(const Command& command) {
  words_.erase(words_.begin(), words_.begin() + 2);
  std::reverse(words_.begin(), words_.end());  // the next one is at the back
  if (!command.subject.empty()) {
    if (command.object == "link" && !words_.empty() && words_.back() == "dev") words_.pop_back();
    if (words_.empty()) return refuse({command.object, " ", command.verb, ": what? ", command.subject, " follows"});
    subject_ = words_.back();
    words_.pop_back();
  }
  while (!words_.empty()) {
    const Word name = words_.back();
    words_.pop_back();
    if (const Done done = read_option(name, command); !done) return done;
  }
  return {};
}

Done Change::read_option(Word name, const Command& command) {
  const std::string spaced = " " + std::string(name) + " ";
  if (command.options.find(spaced) == Word::npos) {
    return refuse({"'", name, "' is not understood here; ", command.object, " ", command.verb,
                   " takes:", command.options.substr(0, command.options.size() - 1)});
  }
  if (name == "all") return {};
  if (name == "up") return state_ = link::LinkState::kUp, Done();
  if (name == "down") return state_ = link::LinkState::kDown, Done();
  if (words_.empty()) return refuse({"'", name, "' needs a value behind it"});
  const Word value = words_.back();
  words_.pop_back();
  return read_value(name, value);
}

Done Change::read_value(Word name, Word value) {
  if (name == "dev") return read_interface(value);
  if (name == "lladdr" || name == "address") return read_mac(value);
  if (name == "nud") {
    return value == "permanent" ? Done() : refuse({"nud '", value, "': only 'permanent' can be set by hand"});
  }
  if (name == "via") {
    const auto gateway = wire::parse_ipv4(value);
    if (!gateway) return refuse({"'", value, "' is no IPv4 address; the gateway is written like 10.0.0.1"});
    return gateway_ = *gateway, Done();
  }
  std::uint32_t number = 0;
  const auto end = std::from_chars(value.data(), value.data() + value.size(), number);
  if (end.ec != std::errc() || end.ptr != value.data() + value.size())
    return refuse({name, " '", value, "' is no number"});
  (name == "mtu" ? mtu_ : metric_) = number;
  return {};
}

// By its name or its number.
Done Change::read_interface(Word name) {
  struct Search {
    Word wanted;
    ip::InterfaceId found = ip::kNoInterface;
    std::string known{};
  } search{.wanted = name};
  ip_.visit_interfaces(
      [](void* arg, const ip::InterfaceEntry& e) {
        auto& s = *static_cast<Search*>(arg);
        const std::string its = interface_name(e.id);
        if (s.wanted == its || s.wanted == std::to_string(e.id)) s.found = e.id;
        s.known += " " + its;
      },
      &search);
  if (search.found == ip::kNoInterface) return refuse({"no interface '", name, "'; there are:", search.known});
  interface_ = search.found;
  return {};
}

Done Change::read_mac(Word value) {
  const auto mac = wire::parse_mac(value);
  if (!mac) return refuse({"'", value, "' is no MAC address; write it like 02:00:00:00:00:01"});
  if (mac->is_group() || mac->is_zero())
    return refuse({"'", value, "' is no station's MAC address, but a group's or nobody's"});
  return mac_ = *mac, Done();
}

// Need not be said while there is only one.
Done Change::need_interface() {
  if (interface_ != ip::kNoInterface) return {};
  std::size_t count = 0;
  ip_.visit_interfaces([](void* arg, const ip::InterfaceEntry&) { ++*static_cast<std::size_t*>(arg); }, &count);
  if (count > 1) return refuse({"which interface? `dev` and its name are missing"});
  return interface_ = 1, Done();
}

Done Change::need_neighbors() {
  if (const Done done = need_interface(); !done) return done;
  const wire::MacAddress ours = ip_.mac_of(interface_);
  return ours.is_zero() ? refuse({interface_name(interface_), " has no Ethernet: no MAC, no neighbours"}) : Done();
}

Result<ip::Prefix, std::string> Change::host() const {
  const auto prefix = wire::parse_prefix(subject_);
  if (!prefix || !prefix->address.is_v4()) {
    return refuse({"'", subject_, "' is no IPv4 address with a length; write it like 10.0.0.2/24"});
  }
  return *prefix;
}

Result<ip::Prefix, std::string> Change::destination() const {
  if (subject_ == "default") return ip::Prefix{wire::Ipv4Address{}, 0};
  const auto prefix = wire::parse_prefix(subject_);
  if (!prefix || !prefix->address.is_v4()) {
    return refuse({"'", subject_, "' is no IPv4 network; write it like 10.1.0.0/16, or default"});
  }
  if (const ip::Prefix network = network_of(*prefix); network != *prefix) {
    return refuse({"'", subject_, "' has bits beyond its length; the network is ", text(network)});
  }
  return *prefix;
}

Result<ip::Address, std::string> Change::neighbor() const {
  const auto address = wire::parse_ipv4(subject_);
  if (!address) return refuse({"'", subject_, "' is no IPv4 address; a neighbour's is written like 10.0.0.1"});
  return ip::Address(*address);
}

// --- addresses and links ---------------------------------------------------------------------------------------------

Done Change::add_address() {
  const auto address = host();
  if (!address) return fail(address.error());
  if (subject_.find('/') == Word::npos)
    return refuse({"'", subject_, "' has no length; write it like ", subject_, "/24"});
  if (const Done done = need_interface(); !done) return done;
  const Status added = ip_.add_address(interface_, *address);
  if (added) return {};
  if (added.error() == Errno::kExist) return refuse({text(address->address), " is there already; `ip addr` shows all"});
  if (added.error() == Errno::kNoBuffers) return refuse({"there are too many addresses or routes; delete one first"});
  return refuse({"'", subject_, "' cannot be a host's address; with /24, 10.0.0.1 to 10.0.0.254 can"});
}

Done Change::remove_address() {
  const auto address = host();
  if (!address) return fail(address.error());
  if (const Done done = need_interface(); !done) return done;
  struct Search {
    ip::InterfaceId interface;
    ip::Address address;
    std::uint8_t length = 0;  // 0: not found
  } search{.interface = interface_, .address = address->address};
  ip_.visit_interfaces(
      [](void* arg, const ip::InterfaceEntry& e) {
        auto& s = *static_cast<Search*>(arg);
        for (const ip::Prefix& p : e.addresses) {
          if (e.id == s.interface && p.address == s.address) s.length = p.length;
        }
      },
      &search);
  const bool length_said = subject_.find('/') != Word::npos;
  if (search.length == 0 || (length_said && search.length != address->length)) {
    return refuse({"there is no address ", subject_, " on ", interface_name(interface_), "; `ip addr` shows all"});
  }
  (void)ip_.remove_address(interface_, address->address);
  return {};
}

Done Change::set_link() {
  if (const Done done = read_interface(subject_); !done) return done;
  if (!state_ && !mtu_ && !mac_)
    return refuse({"link set ", subject_, ": what? up, down, mtu N or address MAC follows"});
  if (mac_) {
    if (const Done done = need_neighbors(); !done) return done;
  }
  if (mtu_ && !ip_.set_mtu(interface_, *mtu_)) {
    return refuse({"mtu ", std::to_string(*mtu_), ": from 68 to 65535 can be"});
  }
  if (mac_) (void)ip_.set_mac(interface_, *mac_);
  if (state_) (void)ip_.set_link_state(interface_, *state_);
  return {};
}

// --- routes ----------------------------------------------------------------------------------------------------------

Done Change::add_route() {
  const auto to = destination();
  if (!to) return fail(to.error());
  if (!gateway_ && interface_ == ip::kNoInterface)
    return refuse({"which way? via ADDRESS or dev INTERFACE is missing"});
  const Status added = ip_.add_route({*to, gateway_.value_or(ip::Address()), interface_, metric_.value_or(0)});
  if (added) return {};
  if (added.error() == Errno::kExist) return refuse({"this route is there already; `ip route` shows all"});
  if (added.error() == Errno::kNoBuffers) return refuse({"there are too many routes; delete one first"});
  return refuse({"the gateway ", text(gateway_.value_or(ip::Address())),
                 " is on no network of this stack; add an address on its network, or set the link up"});
}

// All others to the same destination with the same metric go.
Done Change::replace_route() {
  const auto to = destination();
  if (!to) return fail(to.error());
  const std::vector<ip::RouteEntry> before(ip_.routes().begin(), ip_.routes().end());
  for (const ip::RouteEntry& r : before) {
    if (r.destination == *to && r.metric == metric_.value_or(0) && matches(r, *to)) return {};
  }
  if (const Done done = add_route(); !done) return done;
  for (const ip::RouteEntry& r : before) {
    if (r.destination == *to && r.metric == metric_.value_or(0)) (void)ip_.remove_route(r);
  }
  return {};
}

Done Change::remove_route() {
  const auto to = destination();
  if (!to) return fail(to.error());
  for (const ip::RouteEntry& r : ip_.routes()) {
    if (matches(r, *to)) return (void)ip_.remove_route(ip::RouteEntry(r)), Done();
  }
  return refuse({"there is no such route to ", subject_, "; `ip route` shows all"});
}

// What is not said may be anything.
bool Change::matches(const ip::RouteEntry& route, const ip::Prefix& destination) const {
  return route.destination == destination && (!gateway_ || route.gateway == *gateway_) &&
         (interface_ == ip::kNoInterface || route.interface == interface_) && (!metric_ || route.metric == *metric_);
}

// --- neighbours ------------------------------------------------------------------------------------------------------

Done Change::set_neighbor(ip::Ip::Known known) {
  const auto address = neighbor();
  if (!address) return fail(address.error());
  if (const Done done = need_neighbors(); !done) return done;
  if (!mac_) return refuse({"which MAC address has ", subject_, "? lladdr and the address are missing"});
  const Status set = ip_.set_neighbor(interface_, *address, *mac_, known);
  if (set) return {};
  if (set.error() == Errno::kExist)
    return refuse({"there is an entry for ", subject_, "; `ip neigh replace` changes it"});
  if (set.error() == Errno::kNoBuffers) return refuse({"there are too many entries made by hand; delete one first"});
  return refuse({"'", subject_, "' cannot be a neighbour's address"});
}

Done Change::remove_neighbor() {
  const auto address = neighbor();
  if (!address) return fail(address.error());
  if (const Done done = need_neighbors(); !done) return done;
  if (ip_.remove_neighbor(interface_, *address)) return {};
  return refuse({"there is no entry for ", subject_, "; `ip neigh` shows all"});
}

// Those made by hand stay.
Done Change::flush_neighbors() {
  struct Flush {
    ip::Ip& ip;
    ip::InterfaceId only;
  } flush{ip_, interface_};
  ip_.visit_interfaces(
      [](void* arg, const ip::InterfaceEntry& e) {
        const auto& f = *static_cast<Flush*>(arg);
        if (f.only == ip::kNoInterface || f.only == e.id) (void)f.ip.forget_neighbors(e.id);
      },
      &flush);
  return {};
}

}  // namespace

Result<void, std::string> apply_change(Stack& stack, std::string_view words) {
  return Change(stack.ip(), words_of(words)).run();
}

}  // namespace sluice
