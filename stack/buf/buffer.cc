#include "stack/buf/buffer.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <utility>

#include "stack/buf/frame.h"

namespace sluice::buf {

// The head of a block of memory; its bytes follow directly.
struct alignas(16) Block {
  Pool::Core* pool = nullptr;  // null: from the heap, and back to it
  Block* next = nullptr;       // in a free list or a Queue
  std::uint32_t capacity = 0;
  std::uint32_t begin = 0;  // the view, while in a Queue
  std::uint32_t size = 0;

  std::uint8_t* data() { return static_cast<std::uint8_t*>(static_cast<void*>(this + 1)); }
};

namespace {

Block* new_block(std::size_t capacity) {
  void* memory = ::operator new(sizeof(Block) + capacity, std::nothrow);
  if (memory == nullptr) return nullptr;
  auto* block = new (memory) Block;
  block->capacity = static_cast<std::uint32_t>(capacity);
  return block;
}

void delete_block(Block* block) {
  block->~Block();
  ::operator delete(block);
}

}  // namespace

// Lives until the pool and all its buffers are gone.
struct Pool::Core {
  explicit Core(Limits l) : limits(l) {}

  Block* take(std::size_t capacity) {
    Block*& list = free_list(capacity);
    if (list != nullptr) {
      ++in_use;
      return std::exchange(list, list->next);
    }
    if (heap_bytes + capacity > limits.max_bytes) return nullptr;
    Block* block = new_block(capacity);
    if (block == nullptr) return nullptr;
    block->pool = this;
    heap_bytes += capacity;
    ++in_use;
    return block;
  }

  void give_back(Block* block) {
    --in_use;
    if (orphaned) {
      delete_block(block);
      if (in_use == 0) delete this;
      return;
    }
    Block*& list = free_list(block->capacity);
    block->next = list;
    list = block;
  }

  void orphan() {
    for (Block** list : {&tiny, &small, &large}) {
      while (*list != nullptr) delete_block(std::exchange(*list, (*list)->next));
    }
    orphaned = true;
    if (in_use == 0) delete this;
  }

  Block*& free_list(std::size_t capacity) { return capacity == kTiny ? tiny : capacity == kSmall ? small : large; }

  Limits limits;
  Block* tiny = nullptr;
  Block* small = nullptr;
  Block* large = nullptr;
  std::size_t in_use = 0;
  std::size_t heap_bytes = 0;
  bool orphaned = false;
};

namespace {
void release(Block* block) {
  if (block->pool != nullptr) {
    block->pool->give_back(block);
  } else {
    delete_block(block);
  }
}
}  // namespace

// --- Buffer --------------------------------------------------------------------------------------------------------

Buffer::Buffer(Block* block) : block_(block), data_(block->data()) {}

Buffer::~Buffer() {
  if (block_ != nullptr) release(block_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : block_(std::exchange(other.block_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      begin_(std::exchange(other.begin_, 0)),
      size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    if (block_ != nullptr) release(block_);
    block_ = std::exchange(other.block_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    begin_ = std::exchange(other.begin_, 0);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Buffer Buffer::copy_of(Bytes bytes) {
  Block* block = new_block(bytes.size());
  if (block == nullptr) return {};
  Buffer buffer(block);
  if (!bytes.empty()) std::memcpy(block->data(), bytes.data(), bytes.size());
  buffer.size_ = static_cast<std::uint32_t>(bytes.size());
  return buffer;
}

std::size_t Buffer::capacity() const {
  return block_ != nullptr ? block_->capacity : 0;
}

MutableBytes Buffer::storage() {
  return {data_, capacity()};
}

void Buffer::set_view(std::size_t begin, std::size_t size) {
  assert(begin + size <= capacity());
  begin_ = static_cast<std::uint32_t>(begin);
  size_ = static_cast<std::uint32_t>(size);
}

void Buffer::trim_front(std::size_t n) {
  assert(n <= size_);
  begin_ += static_cast<std::uint32_t>(n);
  size_ -= static_cast<std::uint32_t>(n);
}

void Buffer::trim_back(std::size_t n) {
  assert(n <= size_);
  size_ -= static_cast<std::uint32_t>(n);
}

bool Buffer::append(Bytes bytes) {
  if (capacity() - begin_ - size_ < bytes.size()) return false;
  if (!bytes.empty()) std::memcpy(data_ + begin_ + size_, bytes.data(), bytes.size());
  size_ += static_cast<std::uint32_t>(bytes.size());
  return true;
}

void Buffer::truncate(std::size_t n) {
  size_ = static_cast<std::uint32_t>(std::min<std::size_t>(size_, n));
}

// --- Pool ----------------------------------------------------------------------------------------------------------

Pool::Pool(Limits limits) : core_(new Core(limits)) {}

Pool::~Pool() {
  core_->orphan();
}

Buffer Pool::allocate(std::size_t size) {
  if (size > kLarge) return {};
  Block* block = core_->take(size <= kTiny ? kTiny : size <= kSmall ? kSmall : kLarge);
  return block != nullptr ? Buffer(block) : Buffer();
}

Buffer Pool::copy_of(Bytes bytes) {
  Buffer buffer = allocate(bytes.size());
  if (buffer && !bytes.empty()) std::memcpy(buffer.data_, bytes.data(), bytes.size());
  if (buffer) buffer.size_ = static_cast<std::uint32_t>(bytes.size());
  return buffer;
}

std::size_t Pool::in_use() const {
  return core_->in_use;
}
std::size_t Pool::heap_bytes() const {
  return core_->heap_bytes;
}

// --- Queue ---------------------------------------------------------------------------------------------------------

Queue::Queue(Queue&& other) noexcept
    : head_(std::exchange(other.head_, nullptr)),
      tail_(std::exchange(other.tail_, nullptr)),
      count_(std::exchange(other.count_, 0)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Queue& Queue::operator=(Queue&& other) noexcept {
  if (this != &other) {
    clear();
    head_ = std::exchange(other.head_, nullptr);
    tail_ = std::exchange(other.tail_, nullptr);
    count_ = std::exchange(other.count_, 0);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void Queue::push(Buffer buffer) {
  Block* block = std::exchange(buffer.block_, nullptr);
  if (block == nullptr) return;
  block->begin = buffer.begin_;
  block->size = buffer.size_;
  block->next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = block;
  tail_ = block;
  ++count_;
  bytes_ += block->size;
}

void Queue::append(Queue&& other) {
  if (other.head_ == nullptr) return;
  (tail_ != nullptr ? tail_->next : head_) = std::exchange(other.head_, nullptr);
  tail_ = std::exchange(other.tail_, nullptr);
  count_ += std::exchange(other.count_, 0);
  bytes_ += std::exchange(other.bytes_, 0);
}

Buffer Queue::pop() {
  if (head_ == nullptr) return {};
  Block* block = std::exchange(head_, head_->next);
  if (head_ == nullptr) tail_ = nullptr;
  --count_;
  bytes_ -= block->size;
  Buffer buffer(block);
  buffer.begin_ = block->begin;
  buffer.size_ = block->size;
  return buffer;
}

Bytes Queue::front() const {
  return head_ != nullptr ? Bytes(head_->data() + head_->begin, head_->size) : Bytes();
}

void Queue::trim_front(std::size_t n) {
  assert(head_ != nullptr && n <= head_->size);
  head_->begin += static_cast<std::uint32_t>(n);
  head_->size -= static_cast<std::uint32_t>(n);
  bytes_ -= static_cast<std::uint32_t>(n);
  if (head_->size == 0) pop();
}

void Queue::discard(std::size_t n) {
  assert(n <= bytes_);
  while (n > 0) {
    const std::size_t part = std::min<std::size_t>(n, head_->size);
    trim_front(part);
    n -= part;
  }
}

std::size_t Queue::append_to_back(Bytes bytes) {
  if (tail_ == nullptr) return 0;
  const std::size_t room = tail_->capacity - tail_->begin - tail_->size;
  const std::size_t n = std::min(room, bytes.size());
  if (n == 0) return 0;
  std::memcpy(tail_->data() + tail_->begin + tail_->size, bytes.data(), n);
  tail_->size += static_cast<std::uint32_t>(n);
  bytes_ += static_cast<std::uint32_t>(n);
  return n;
}

void Queue::clear() {
  while (head_ != nullptr) pop();
}

std::size_t Queue::gather(std::size_t offset, std::size_t size, TxPacket& packet) const {
  std::size_t done = 0;
  for (Block* block = head_; block != nullptr && done < size; block = block->next) {
    if (offset >= block->size) {
      offset -= block->size;
      continue;
    }
    const std::size_t n = std::min(size - done, block->size - offset);
    if (!packet.append({block->data() + block->begin + offset, n})) break;
    done += n;
    offset = 0;
  }
  return done;
}

std::size_t Queue::peek(MutableBytes out, std::size_t offset) const {
  std::size_t done = 0;
  for (Block* block = head_; block != nullptr && done < out.size(); block = block->next) {
    if (offset >= block->size) {
      offset -= block->size;
      continue;
    }
    const std::size_t n = std::min(out.size() - done, block->size - offset);
    std::memcpy(out.data() + done, block->data() + block->begin + offset, n);
    done += n;
    offset = 0;
  }
  return done;
}

std::size_t Queue::read(MutableBytes out) {
  std::size_t done = 0;
  while (done < out.size() && head_ != nullptr) {
    const std::size_t n = std::min<std::size_t>(out.size() - done, head_->size);
    std::memcpy(out.data() + done, head_->data() + head_->begin, n);
    done += n;
    trim_front(n);
  }
  return done;
}

// --- TxFrame -------------------------------------------------------------------------------------------------------

std::size_t TxFrame::copy_to(MutableBytes out) const {
  assert(out.size() >= size());
  std::uint8_t* to = out.data();
  if (!header.empty()) std::memcpy(to, header.data(), header.size());
  to += header.size();
  for (Bytes piece : payload) {
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  }
  return static_cast<std::size_t>(to - out.data());
}

}  // namespace sluice::buf
