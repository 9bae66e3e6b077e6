// Reassembly of IPv4 fragments: RFC 791 §3.2, RFC 815, RFC 1122 §3.3.2, with the overlap rule of RFC 5722 and bounds
// on memory, on datagrams, and on what one source can hold (RFC 6274 §4.1.2, RFC 8900).
//
// DEVIATION(RFC1122-FRAG-06): 30 s by default, not 60 to 120, as most hosts do: at today's rates an old fragment would
// meet a datagram with the same identification (RFC 4963). The time is fixed (RFC1122-FRAG-06) and configurable.
//
// Fragments may come in any order and more than once (RFC791-07, RFC815-01); memory, datagrams and the share of one
// source are bounded, and what gives way is whole datagrams (RFC6274-02).
//
// Rule for overlaps: a fragment that repeats one already held, byte for byte, is ignored; any other overlap drops the
// whole datagram, and what still arrives of it (RFC5722-04).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/siphash.h"
#include "stack/buf/buffer.h"
#include "stack/ip/ip.h"
#include "stack/wire/ipv4.h"

namespace sluice::ip {

class ReassemblyUser {
 public:
  virtual ~ReassemblyUser() = default;
  // A datagram was not complete in time. `first` is its first fragment's packet from the IP header on; empty if it
  // never came (RFC1122-FRAG-05).
  virtual void on_reassembly_timeout(Bytes first, InterfaceId interface) = 0;
};

class Reassembler {
 public:
  Reassembler(Context& context, buf::Pool& pool, ReassemblyUser& user, const IpConfig& config);
  ~Reassembler();
  Reassembler(const Reassembler&) = delete;
  Reassembler& operator=(const Reassembler&) = delete;

  // Takes a fragment: `buffer`'s view is the packet from its IP header on. Returns the datagram if this completes it,
  // else an empty buffer; what is dropped is counted.
  buf::Buffer add(buf::Buffer buffer, const wire::ipv4::Packet& packet, InterfaceId interface);

  [[nodiscard]] std::size_t datagrams() const { return count_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Fragment;
  struct Partial;

  Partial* find(const wire::ipv4::Header& header) const;
  Partial* make(const wire::ipv4::Header& header, InterfaceId interface);
  void insert(Partial& partial, buf::Buffer buffer, const wire::ipv4::Packet& packet, Bytes frame);
  bool collides(Partial& partial, std::size_t at, std::size_t begin, Bytes payload, Bytes frame);
  bool set_end(Partial& partial, std::size_t end, bool last) const;
  buf::Buffer assemble(Partial& partial);
  void poison(Partial& partial);
  void destroy(Partial* partial);
  void release_fragments(Partial& partial);
  void make_room(const wire::ipv4::Header& header);
  [[nodiscard]] std::size_t bucket(const wire::ipv4::Header& header) const;
  void on_timer();

  static constexpr std::size_t kBuckets = 256;

  Context& context_;
  buf::Pool& pool_;
  ReassemblyUser& user_;
  IpConfig config_;
  SipKey key_{};
  Timer timer_;
  std::array<Partial*, kBuckets> buckets_{};
  Partial* oldest_ = nullptr;  // list in order of creation, so of expiry
  Partial* newest_ = nullptr;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace sluice::ip
