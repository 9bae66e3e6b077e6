#include "stack/tcp/ports.h"

#include <utility>

#include "stack/tcp/listener.h"

namespace sluice::tcp {
namespace {

bool overlap(const ip::Endpoint& a, const ip::Endpoint& b) {
  return a.port == b.port && (a.address == b.address || a.address.is_any() || b.address.is_any());
}
bool both(Switch a, Switch b) {
  return a == Switch::kOn && b == Switch::kOn;
}

}  // namespace

Ports::~Ports() {
  for (Port* p : buckets_) {
    while (p != nullptr) {
      while (p->claims != nullptr) delete std::exchange(p->claims, p->claims->next);
      delete std::exchange(p, p->next);
    }
  }
}

Ports::Port* Ports::find(std::uint16_t number) const {
  Port* p = buckets_[number % kBuckets];
  while (p != nullptr && p->number != number) p = p->next;
  return p;
}

Ports::Port& Ports::obtain(std::uint16_t number) {
  if (Port* p = find(number); p != nullptr) return *p;
  Port*& bucket = buckets_[number % kBuckets];
  bucket = new Port{.number = number, .next = bucket};
  return *bucket;
}

void Ports::forget_if_unused(const Port& port) {
  if (port.flows != 0 || port.claims != nullptr || port.listeners != nullptr) return;
  Port** link = &buckets_[port.number % kBuckets];
  while (*link != &port) link = &(*link)->next;
  delete std::exchange(*link, port.next);
}

// --- claims

bool Ports::claimed(const ip::Endpoint& local, PortSharing sharing) const {
  const Port* p = find(local.port);
  if (p == nullptr) return false;
  bool listens = false;
  for (const Listener* l = p->listeners; l != nullptr; l = l->next) listens |= overlap(l->local(), local);
  for (const Claim* c = p->claims; c != nullptr; c = c->next) {
    const bool beside = both(c->sharing.address, sharing.address) && !listens;
    if (overlap(c->local, local) && !beside && !both(c->sharing.port, sharing.port)) return true;
  }
  return false;
}

bool Ports::occupied(const ip::Endpoint& local, PortSharing sharing) const {
  if (claimed(local, sharing)) return true;
  const Port* p = find(local.port);
  return p != nullptr && p->flows > 0 && sharing == PortSharing{};
}

void Ports::claim(const ip::Endpoint& local, PortSharing sharing) {
  Port& p = obtain(local.port);
  p.claims = new Claim{local, sharing, p.claims};
}

void Ports::release(const ip::Endpoint& local, PortSharing sharing) {
  Port* p = find(local.port);
  if (p == nullptr) return;
  for (Claim** link = &p->claims; *link != nullptr; link = &(*link)->next) {
    if ((*link)->local != local || (*link)->sharing != sharing) continue;
    delete std::exchange(*link, (*link)->next);
    break;
  }
  forget_if_unused(*p);
}

// --- listeners

Status Ports::add(Listener& listener) {
  Port& p = obtain(listener.local().port);
  for (const Listener* l = p.listeners; l != nullptr; l = l->next) {
    if (overlap(l->local(), listener.local()) && !both(l->sharing().port, listener.sharing().port)) {
      return fail(Errno::kAddressInUse);
    }
  }
  listener.next = std::exchange(p.listeners, &listener);
  return {};
}

void Ports::remove(Listener& listener) {
  Port* p = find(listener.local().port);
  Listener** link = &p->listeners;
  while (*link != &listener) link = &(*link)->next;
  *link = listener.next;
  forget_if_unused(*p);
}

Listener* Ports::listener_for(const ip::Endpoint& local, std::uint32_t hash) const {
  const Port* p = find(local.port);
  if (p == nullptr) return nullptr;
  for (const ip::Address& address : {local.address, ip::Address::any(ip::Family::kV4)}) {
    std::uint64_t count = 0;
    for (const Listener* l = p->listeners; l != nullptr; l = l->next) count += l->local().address == address ? 1 : 0;
    std::uint64_t place = (hash * count) >> 32;
    for (Listener* l = p->listeners; l != nullptr; l = l->next) {
      if (l->local().address == address && place-- == 0) return l;
    }
  }
  return nullptr;
}

bool Ports::shared(std::uint16_t port) const {
  const Port* p = find(port);
  return p != nullptr && p->listeners != nullptr && p->listeners->next != nullptr;
}

Listener* Ports::any_listener() const {
  for (const Port* p : buckets_) {
    for (; p != nullptr; p = p->next) {
      if (p->listeners != nullptr) return p->listeners;
    }
  }
  return nullptr;
}

void Ports::visit_listeners(Visitor visit, void* arg) const {
  for (const Port* p : buckets_) {
    for (; p != nullptr; p = p->next) {
      for (const Listener* l = p->listeners; l != nullptr; l = l->next) visit(arg, *l);
    }
  }
}

// --- flows

void Ports::count(Flow& flow) {
  Port* p = find(flow.tuple.local.port);
  if (p == nullptr) return;
  ++p->flows;
  flow.counted = true;
}

void Ports::discount(Flow& flow) {
  if (!std::exchange(flow.counted, false)) return;
  Port* p = find(flow.tuple.local.port);
  --p->flows;
  forget_if_unused(*p);
}

}  // namespace sluice::tcp
