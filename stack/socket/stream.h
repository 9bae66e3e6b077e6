// The stream socket: unbound, bound, listening, or with a connection. errno values and readiness as tcp(7), connect(2),
// poll(2) have them. stream.cc has its life and its data, stream_options.cc its options.
#pragma once

#include <memory>

#include "stack/socket/object.h"
#include "stack/socket/reports.h"

namespace sluice::socket {

using tcp::Switch;

// Of a socket without a connection: what one is going to have, and what a listener has beside that (RFC 7413).
struct StreamOptions : tcp::ConnectionOptions {
  std::uint32_t fast_open_limit = 0;
  tcp::FastOpenKeys fast_open_keys{};
};

class Stream final : public Object, private tcp::ConnectionUser {
 public:
  Stream(tcp::Tcp& tcp, Family family, Handle h) : Object(Type::kStream, h), own_(std::make_unique<Own>(*this, tcp)) {
    own_->local.address = Address::any(family);
    own_->options = std::make_unique<StreamOptions>();
  }
  Stream(tcp::ConnectionHandle* connection, Handle h)
      : Object(Type::kStream, h), connection_(connection), connected_(true) {
    connection->set_user(this);
  }
  ~Stream() override {
    if (connection_ != nullptr) connection_->close();
    if (own_ == nullptr) return;
    if (own_->listener != nullptr) own_->listener->close();
    if (own_->claimed) own_->tcp.release_port(own_->local, own_->claimed_sharing);
  }

  Status bind(const Endpoint& local) override;
  Status listen(int backlog) override;
  Result<tcp::ConnectionHandle*> accept() override;
  Status connect(const Endpoint& peer) override;
  Status disconnect() override;
  Result<std::size_t> send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags flags) override;
  Result<Received> receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) override;
  Result<Lent> lend() override;
  void give_back(std::size_t bytes) override;
  Status send(buf::Buffer& block, SendFlags flags) override;
  void report_copied() override;
  void report_progress() override;
  Result<Report> take_report() override;
  Status shutdown(Shutdown how) override;
  [[nodiscard]] Endpoint local_name() const override;
  [[nodiscard]] Result<Endpoint> peer_name() const override;
  Status set_option(Option option, std::int64_t value) override;
  Result<std::int64_t> get_option(Option option) override;
  Status set_fast_open_keys(const tcp::FastOpenKeys& keys) override;
  [[nodiscard]] Result<tcp::FastOpenKeys> fast_open_keys() const override;
  Status set_md5_key(const tcp::Md5Key& key) override;
  [[nodiscard]] bool in_handshake() const override;
  [[nodiscard]] Ready ready() const override;
  [[nodiscard]] bool receives(std::size_t least) const override;
  [[nodiscard]] Result<std::size_t> readable_bytes() const override;
  [[nodiscard]] Result<tcp::Info> tcp_info() const override;

 private:
  void on_tcp_change() override { changed(); }
  void on_tcp_progress(Progress what, std::uint32_t offset, Instant now) override;
  void forget_connection() {  // one that has failed: the socket may connect again
    take_options_back();
    connection_->close();
    connection_ = nullptr;
  }
  void take_options_back() { own().options = std::make_unique<StreamOptions>(StreamOptions{connection_->options()}); }
  void stop_listening() {
    own_->listener->close();
    own_->listener = nullptr;
    changed();
  }
  [[nodiscard]] const tcp::ConnectionOptions& options() const {
    return connection_ != nullptr ? connection_->options() : *own_->options;
  }
  [[nodiscard]] tcp::ListenerHandle* listener() const { return own_ != nullptr ? own_->listener : nullptr; }
  Reports& reports() {
    if (own().reports == nullptr) own_->reports = std::make_unique<Reports>();
    return *own_->reports;
  }
  [[nodiscard]] bool has_reports() const {
    return own_ != nullptr && own_->reports != nullptr && !own_->reports->empty();
  }
  // As a destination, no address is this host, as on Linux.
  [[nodiscard]] Address to_this_host(const Address& peer) const {
    if (!peer.is_any()) return peer;
    const Address& own = own_->local.address;
    return own.is_any() ? Address(wire::Ipv4Address{0x7f000001}) : own;
  }
  [[nodiscard]] Status check_connection(Errno without) const;
  Status begin_connection(const Endpoint& peer, tcp::Tcp::Opening opening);
  Status prepare_first(const Endpoint* destination);
  Result<Received> receive_urgent(std::span<const MutableBytes> pieces, ReceiveFlags flags);
  [[nodiscard]] bool leaves_mark_out() const {
    return options().urgent_inline == Switch::kOff && connection_->bytes_to_mark() == 0;
  }
  [[nodiscard]] bool has_to_read(std::size_t least) const;
  Errno take_pending_error();
  Result<Received> peek(std::span<const MutableBytes> pieces);
  Status apply(const tcp::ConnectionOptions& wanted);
  Status take_fast_open_option(tcp::ConnectionOptions& options, Option option, std::int64_t value);
  Status take_option(tcp::ConnectionOptions& options, Option option, std::int64_t value);
  Status take_tcp_option(tcp::ConnectionOptions& options, Option option, std::int64_t value);
  [[nodiscard]] Result<std::int64_t> get_tcp_option(Option option) const;

  // What the socket has itself: before there is a connection everything, beside one what it was given for more than it.
  struct Own final : tcp::ListenerUser {
    Own(Stream& s, tcp::Tcp& t) : stream(s), tcp(t) {}
    void on_tcp_acceptable() override { stream.changed(); }

    Stream& stream;
    tcp::Tcp& tcp;
    std::unique_ptr<StreamOptions> options;   // null while there is a connection: it has them
    std::unique_ptr<Reports> reports;         // null: none ever
    tcp::ListenerHandle* listener = nullptr;  // null: it does not listen
    Endpoint local;                           // claimed, or any
    Errno left_error = Errno::kOk;            // of a connection that is forgotten already
    bool connect_cut = false;                 // the forgotten one was in its handshake, and connect() is to tell
    bool claimed = false;
    std::uint32_t receive_low_water = 1;  // bytes
    tcp::PortSharing sharing;             // wanted
    tcp::PortSharing claimed_sharing;

    [[nodiscard]] bool is_nothing() const {  // once there is a connection
      return !claimed && sharing == tcp::PortSharing() && reports == nullptr && left_error == Errno::kOk &&
             receive_low_water == 1;
    }
  };
  Own& own() {
    if (own_ == nullptr) own_ = std::make_unique<Own>(*this, connection_->tcp());
    return *own_;
  }
  [[nodiscard]] const tcp::TcpConfig& config() const {
    return connection_ != nullptr ? connection_->tcp().config() : own_->tcp.config();
  }

  tcp::ConnectionHandle* connection_ = nullptr;
  std::unique_ptr<Own> own_;  // null only beside a connection: nothing, as with most that were accepted
  bool shut_read_ = false;
  bool shut_write_ = false;
  bool connected_ = false;  // connect() has succeeded and was told so, or accepted
};

}  // namespace sluice::socket
