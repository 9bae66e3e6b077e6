// A capture as a network device: pcap and pcapng through libpcap. Its frames arrive in recorded time or as fast as they
// are taken; all of them, or those that one host would receive. What is sent is recorded, or forgotten.
#pragma once

#include <memory>
#include <string>

#include "drivers/failure.h"
#include "drivers/pcap_writer.h"
#include "stack/link/netdev.h"
#include "stack/wire/address.h"

struct pcap;

namespace sluice::drivers {

struct CaptureFrame {
  Instant at;                     // time of day
  Bytes bytes;                    // valid until the next one is read
  std::uint32_t wire_length = 0;  // larger than bytes.size() when the capture cut it
};

// Reads a capture frame by frame. Link types: Ethernet, raw IP, IPv4, IPv6, BSD loopback, Linux cooked (v1, v2); of the
// last three the link header is taken off.
class CaptureReader {
 public:
  static Result<std::unique_ptr<CaptureReader>, Failure> open(const std::string& path);
  ~CaptureReader();

  bool next(CaptureFrame& out);  // false at the end, or where the file is damaged: see damage()
  [[nodiscard]] link::Medium medium() const { return medium_; }
  [[nodiscard]] const std::string& damage() const { return damage_; }  // empty: none

 private:
  CaptureReader(pcap* handle, link::Medium medium, int link_type);
  [[nodiscard]] std::size_t link_header(Bytes frame) const;

  pcap* handle_;
  link::Medium medium_;
  int link_type_;
  std::string damage_;
};

class PcapFile final : public link::NetDevice {
 public:
  enum class Pace : std::uint8_t { kRecorded, kFastest };
  struct Settings {
    Pace pace = Pace::kFastest;
    wire::Address only_to;  // frames with this IPv4 destination, and broadcasts and ARP; any(): all
    std::string record;     // file for what is sent; empty: none
  };

  static Result<std::unique_ptr<PcapFile>, Failure> open(const std::string& path, const Settings& settings);

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] Instant next_deadline() const override;
  [[nodiscard]] bool finished() const override { return !has_next_; }

 private:
  PcapFile(std::unique_ptr<CaptureReader> reader, std::unique_ptr<PcapWriter> writer, const Settings& settings);
  void advance();
  [[nodiscard]] bool wanted(Bytes frame) const;

  std::unique_ptr<CaptureReader> reader_;
  std::unique_ptr<PcapWriter> writer_;
  Settings settings_;
  link::Capabilities capabilities_;
  CaptureFrame next_;
  bool has_next_ = false;
  bool started_ = false;
  Duration offset_;  // from recorded time to the stack's
};

}  // namespace sluice::drivers
