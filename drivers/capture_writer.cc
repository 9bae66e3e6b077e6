#include "drivers/capture_writer.h"

#include "drivers/pcap_writer.h"
#include "drivers/pcapng_writer.h"

namespace sluice::drivers {

namespace {
template <typename T>
Result<std::unique_ptr<CaptureWriter>, Failure> as_writer(Result<std::unique_ptr<T>, Failure> created) {
  if (!created) return fail(created.error());
  return std::unique_ptr<CaptureWriter>(std::move(*created));
}
}  // namespace

Result<std::unique_ptr<CaptureWriter>, Failure> create_capture(const std::string& path, link::Medium medium,
                                                               link::Fcs fcs) {
  if (path.ends_with(".pcapng")) return as_writer(PcapngWriter::create(path, medium, fcs));
  return as_writer(PcapWriter::create(path, medium, fcs));
}

}  // namespace sluice::drivers
