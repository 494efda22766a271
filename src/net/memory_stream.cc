// Two ends joined in memory: the transport of tests and of the simulator.
#include "net/stream.h"
#include "net/wake.h"

namespace net {

using base::Code;
using base::Status;

namespace {

// One direction. Both ends share it, so either may die first.
struct Pipe {
  Pipe(asio::io_context& loop, size_t bytes_max) : capacity(bytes_max), has_bytes(loop), has_room(loop) {}
  const size_t capacity;
  std::string bytes;
  bool ended = false;   // the writer has finished
  bool broken = false;  // the reader has gone
  Wake has_bytes;
  Wake has_room;
};

class MemoryStream final : public Stream {
 public:
  MemoryStream(std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out) : in_(std::move(in)), out_(std::move(out)) {}
  ~MemoryStream() override { MemoryStream::close(); }

  IoResult try_read(char* to, size_t size_max) override {
    if (closed_) return {IoState::kFailed, 0};
    if (in_->bytes.empty()) return {in_->ended ? IoState::kEnd : IoState::kBlocked, 0};
    const size_t size = std::min(size_max, in_->bytes.size());
    in_->bytes.copy(to, size);
    in_->bytes.erase(0, size);
    in_->has_room.notify();
    return {IoState::kDone, size};
  }
  IoResult try_write(std::string_view bytes) override {
    if (closed_ || out_->broken || out_->ended) return {IoState::kFailed, 0};
    const size_t size = std::min(bytes.size(), out_->capacity - out_->bytes.size());
    if (size == 0 && !bytes.empty()) return {IoState::kBlocked, 0};
    out_->bytes.append(bytes.substr(0, size));
    out_->has_bytes.notify();
    return {IoState::kDone, size};
  }
  asio::awaitable<Status> readable() override {
    while (!closed_ && in_->bytes.empty() && !in_->ended) co_await in_->has_bytes.wait();
    co_return closed_ ? Status(Code::kCancelled, "use of closed network connection") : Status();
  }
  asio::awaitable<Status> writable() override {
    while (!closed_ && !out_->broken && !out_->ended && out_->bytes.size() >= out_->capacity) co_await out_->has_room.wait();
    co_return closed_ ? Status(Code::kCancelled, "use of closed network connection") : Status();
  }
  void shutdown_write() override {
    out_->ended = true;
    out_->has_bytes.notify();
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    shutdown_write();
    in_->broken = true;
    // Wake both ends' waiters: ours see closed_, theirs see ended and broken.
    for (Wake* wake : {&in_->has_bytes, &in_->has_room, &out_->has_bytes, &out_->has_room}) wake->notify();
  }
  bool closed() const override { return closed_; }
  Status error() const override {
    return Status(Code::kUnavailable, closed_ ? "use of closed network connection" : "broken pipe");
  }
  const std::string& peer() const override { return peer_; }

 private:
  std::shared_ptr<Pipe> in_, out_;
  const std::string peer_ = "memory";
  bool closed_ = false;
};

}  // namespace

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_memory_pair(asio::io_context& loop, size_t capacity) {
  auto left_to_right = std::make_shared<Pipe>(loop, capacity);
  auto right_to_left = std::make_shared<Pipe>(loop, capacity);
  return {std::make_unique<MemoryStream>(right_to_left, left_to_right),
          std::make_unique<MemoryStream>(left_to_right, right_to_left)};
}

}  // namespace net
