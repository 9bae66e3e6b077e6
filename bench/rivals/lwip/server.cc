// The services of `sluice benchd` on lwIP's raw API, as Debian builds it, over a tap: one thread that reads frames,
// runs lwIP and calls back, and that spins or sleeps in poll(2) while there is nothing to do.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <lwip/udp.h>
#include <net/if.h>
#include <netif/ethernet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace {

constexpr u16_t kDiscard = 5001;
constexpr u16_t kSource = 5002;
constexpr u16_t kEcho = 5003;
constexpr u16_t kUdpEcho = 5004;
constexpr u16_t kEchoAndClose = 5005;
constexpr u16_t kHttp = 8080;
constexpr u16_t kFrameRoom = 1514;
constexpr int kBatch = 64;  // frames between two looks at the timers
constexpr std::string_view kPage =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nhello, sluice\n";
std::array<char, 1 << 16> source_data;

void require(bool good, const char* what) {
  if (good) return;
  fprintf(stderr, "lwip-server: %s: %s\n", what, strerror(errno));
  exit(1);
}

// --- the tap -----------------------------------------------------------------------------------------------------

int tap_of(const netif* interface) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(interface->state));
}

int open_tap(const std::string& name) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  require(fd >= 0, "/dev/net/tun");
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI);
  require(ioctl(fd, TUNSETIFF, &request) == 0, "TUNSETIFF");
  return fd;
}

// Debian's build has LWIP_NETIF_TX_SINGLE_PBUF: a frame is always one piece.
err_t send_frame(netif* interface, pbuf* frame) {
  const ssize_t n = write(tap_of(interface), frame->payload, frame->len);
  return n == frame->len ? ERR_OK : ERR_IF;
}

bool receive_frame(netif* interface) {
  pbuf* frame = pbuf_alloc(PBUF_RAW, kFrameRoom, PBUF_RAM);
  require(frame != nullptr, "memory");
  const ssize_t n = read(tap_of(interface), frame->payload, kFrameRoom);
  if (n <= 0) {
    pbuf_free(frame);
    return false;
  }
  pbuf_realloc(frame, static_cast<u16_t>(n));
  if (interface->input(frame, interface) != ERR_OK) pbuf_free(frame);
  return true;
}

err_t prepare_interface(netif* interface) {
  interface->output = etharp_output;
  interface->linkoutput = send_frame;
  interface->mtu = 1500;
  interface->hwaddr_len = ETH_HWADDR_LEN;
  const std::array<u8_t, ETH_HWADDR_LEN> mac = {2, 0, 0, 0, 0, 2};
  std::copy(mac.begin(), mac.end(), interface->hwaddr);
  interface->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_LINK_UP;
  return ERR_OK;
}

// --- the services ------------------------------------------------------------------------------------------------

err_t close_connection(tcp_pcb* connection) {
  tcp_arg(connection, nullptr);
  tcp_recv(connection, nullptr);
  tcp_sent(connection, nullptr);
  if (tcp_close(connection) == ERR_OK) return ERR_OK;
  tcp_abort(connection);
  return ERR_ABRT;
}

// tcp_input sends what a callback has written.
void reply(tcp_pcb* connection, std::string_view data) {
  (void)tcp_write(connection, data.data(), static_cast<u16_t>(data.size()), TCP_WRITE_FLAG_COPY);
}

err_t serve(void*, tcp_pcb* connection, pbuf* data, err_t) {
  if (data == nullptr) return close_connection(connection);
  const u16_t port = connection->local_port;
  if (port == kHttp) reply(connection, kPage);  // load generators send requests whole, one at a time
  if (port == kEcho || port == kEchoAndClose) {
    for (const pbuf* p = data; p != nullptr; p = p->next)
      reply(connection, {static_cast<const char*>(p->payload), p->len});
  }
  tcp_recved(connection, data->tot_len);
  pbuf_free(data);
  if (port == kEchoAndClose) return close_connection(connection);
  return ERR_OK;
}

void fill(tcp_pcb* connection) {
  while (tcp_sndbuf(connection) > 0) {
    const auto n = static_cast<u16_t>(std::min<std::size_t>(tcp_sndbuf(connection), source_data.size() - 1));
    if (tcp_write(connection, source_data.data(), n, TCP_WRITE_FLAG_COPY) != ERR_OK) break;
  }
}
err_t fill_again(void*, tcp_pcb* connection, u16_t) {
  fill(connection);
  return ERR_OK;
}

err_t accept_connection(void*, tcp_pcb* connection, err_t error) {
  if (error != ERR_OK || connection == nullptr) return ERR_VAL;
  tcp_nagle_disable(connection);
  tcp_recv(connection, serve);
  if (connection->local_port != kSource) return ERR_OK;
  tcp_sent(connection, fill_again);
  fill(connection);
  return tcp_output(connection);
}

void listen_on(u16_t port) {
  tcp_pcb* p = tcp_new();
  require(p != nullptr && tcp_bind(p, IP4_ADDR_ANY, port) == ERR_OK, "bind");
  p = tcp_listen_with_backlog(p, 255);
  require(p != nullptr, "listen");
  tcp_accept(p, accept_connection);
}

void echo_datagram(void*, udp_pcb* socket, pbuf* data, const ip_addr_t* from, u16_t port) {
  (void)udp_sendto(socket, data, from, port);
  pbuf_free(data);
}

enum class Wait { kSpin, kPoll };

void run(netif& interface, Wait wait, double seconds) {
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  };
  const double end = now() + seconds;
  while (now() < end) {
    int frames = 0;
    while (frames < kBatch && receive_frame(&interface)) ++frames;
    sys_check_timeouts();
    if (frames > 0 || wait == Wait::kSpin) continue;
    pollfd p{tap_of(&interface), POLLIN, 0};
    (void)poll(&p, 1, static_cast<int>(std::min<u32_t>(sys_timeouts_sleeptime(), 250)));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc == 5 ? argv[4] : "spin";
  ip4_addr_t address{}, mask{}, gateway{};
  if (argc < 4 || argc > 5 || (mode != "spin" && mode != "poll") || ip4addr_aton(argv[2], &address) == 0) {
    fprintf(stderr, "usage: lwip-server TAP ADDRESS SECONDS [spin|poll]\n");
    return 2;
  }
  IP4_ADDR(&mask, 255, 255, 255, 0);
  lwip_init();
  netif interface {};
  const int fd = open_tap(argv[1]);
  void* state = reinterpret_cast<void*>(static_cast<std::intptr_t>(fd));
  require(netif_add(&interface, &address, &mask, &gateway, state, prepare_interface, ethernet_input) != nullptr,
          "netif_add");
  netif_set_default(&interface);
  netif_set_up(&interface);
  for (const u16_t port : {kDiscard, kSource, kEcho, kEchoAndClose, kHttp}) listen_on(port);
  udp_pcb* datagrams = udp_new();
  require(datagrams != nullptr && udp_bind(datagrams, IP4_ADDR_ANY, kUdpEcho) == ERR_OK, "udp_bind");
  udp_recv(datagrams, echo_datagram, nullptr);
  run(interface, mode == "spin" ? Wait::kSpin : Wait::kPoll, atof(argv[3]));
}
