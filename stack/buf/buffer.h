// Packet buffers and the pool they come from.
//
// A Buffer owns one block of memory and views a part of it. It moves up the receive path by ownership: layers cut
// headers off the view, the bytes before the view stay where they are (an ICMP error still quotes them), and the
// socket's receive queue ends up owning the block. There is no reference count and no sharing.
// Blocks come from a Pool, last in first out, so the few that are in use stay in the cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/types.h"

namespace sluice::buf {

class Pool;
class TxPacket;
struct Block;  // private to buffer.cc

class Buffer {
 public:
  Buffer() = default;  // empty, owns nothing
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // A block of exactly the size of `bytes`, from the heap and no pool; for tests, captures and rare paths.
  static Buffer copy_of(Bytes bytes);

  explicit operator bool() const { return block_ != nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }  // bytes in view
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t capacity() const;                    // of the block, bytes
  [[nodiscard]] std::size_t headroom() const { return begin_; }  // bytes of the block before the view

  [[nodiscard]] Bytes bytes() const { return {data_ + begin_, size_}; }
  [[nodiscard]] MutableBytes writable() { return {data_ + begin_, size_}; }
  [[nodiscard]] MutableBytes storage();  // the whole block, for a driver to fill

  void set_view(std::size_t begin, std::size_t size);  // begin + size <= capacity()
  void trim_front(std::size_t n);                      // n <= size()
  void trim_back(std::size_t n);                       // n <= size()
  bool append(Bytes bytes);                            // behind the view; false, and nothing done, without room
  void truncate(std::size_t n);                        // to at most n bytes

 private:
  friend class Pool;
  friend class Queue;
  explicit Buffer(Block* block);

  Block* block_ = nullptr;
  std::uint8_t* data_ = nullptr;
  std::uint32_t begin_ = 0;
  std::uint32_t size_ = 0;
};

// Three sizes of block: kTiny holds a short message, kSmall a full Ethernet frame with room to spare, kLarge the
// largest IP packet with its headers. A pool keeps what is returned for reuse and grows on demand up to its cap.
// Buffers may outlive it.
class Pool {
 public:
  static constexpr std::size_t kTiny = 256;
  static constexpr std::size_t kSmall = 2048;
  static constexpr std::size_t kLarge = 65536 + 512;

  struct Limits {
    std::size_t max_bytes = std::size_t{256} << 20;  // of all blocks, in use and kept
  };

  Pool() : Pool(Limits{}) {}
  explicit Pool(Limits limits);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // A buffer of at least `size` bytes whose view is empty at its start; empty handle when the cap is reached or
  // size > kLarge.
  Buffer allocate(std::size_t size);
  // The same, filled with a copy of `bytes`.
  Buffer copy_of(Bytes bytes);

  [[nodiscard]] std::size_t in_use() const;      // blocks handed out and not returned
  [[nodiscard]] std::size_t heap_bytes() const;  // memory held, in use and kept

  struct Core;  // private to buffer.cc

 private:
  Core* core_;
};

// A first-in first-out queue of buffers, chained through the blocks: no allocation.
class Queue {
 public:
  Queue() = default;
  ~Queue() { clear(); }
  Queue(Queue&& other) noexcept;
  Queue& operator=(Queue&& other) noexcept;

  [[nodiscard]] bool empty() const { return head_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return count_; }   // buffers
  [[nodiscard]] std::size_t bytes() const { return bytes_; }  // sum of the views

  void push(Buffer buffer);
  void append(Queue&& other);         // all of it, at the end, in one step
  Buffer pop();                       // empty handle when the queue is empty
  [[nodiscard]] Bytes front() const;  // view of the first buffer; empty when there is none
  void trim_front(std::size_t n);     // of the first buffer; removes it when its view becomes empty
  void discard(std::size_t n);        // the first n bytes, n <= bytes(), of as many buffers as they are in
  // Copies as much of `bytes` as fits behind the view of the last buffer; returns how much. So many small payloads
  // share one block.
  std::size_t append_to_back(Bytes bytes);
  void clear();

  // Adds spans of the bytes [offset, offset + size) to `packet`, as far as it has room; returns how many bytes.
  std::size_t gather(std::size_t offset, std::size_t size, TxPacket& packet) const;
  // Copies up to out.size() bytes from `offset` on without removing them; returns how many.
  std::size_t peek(MutableBytes out, std::size_t offset = 0) const;
  // Copies and removes.
  std::size_t read(MutableBytes out);

 private:
  Block* head_ = nullptr;
  Block* tail_ = nullptr;
  std::uint32_t count_ = 0;
  std::uint32_t bytes_ = 0;  // what a queue holds is bounded far below 4 GiB
};

}  // namespace sluice::buf
