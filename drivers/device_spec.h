// "tap:NAME[,uring]", "tun:NAME[,uring]", "packet:IFACE", "live:IFACE", "pcap:IN[,OUT]" to an open device.
#pragma once

#include <memory>
#include <string>

#include "drivers/failure.h"
#include "drivers/interface.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

// `offload` matters to TAP, TUN and packet sockets. "mem" is not opened here: it takes a peer, which the runtime makes.
Result<std::unique_ptr<link::NetDevice>, Failure> open_device(const std::string& spec, HostOffload offload);

}  // namespace sluice::drivers
