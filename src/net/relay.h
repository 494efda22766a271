// Moves bytes between pairs of connected sockets, both ways, without looking at them: what `etcd gateway` does all day. Owner:
// the loop's thread. The sockets are in an epoll set of their own (edge-triggered), which is one descriptor to the loop: a
// message costs one read and one write, and nothing to wait for it.
//
// What one side cannot take yet is kept (at most one buffer a direction) and the other side is not read meanwhile. A direction
// that carries much is moved by splice(2) through a pipe, without a copy. The end of one direction is passed on and the other
// goes on (half-close); a pair that is half closed and silent for kHalfClosedMax ends, and so does one with an error.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <asio.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "net/socket.h"

namespace net {

class Relay {
 public:
  static constexpr size_t kBufferBytes = 64 << 10;  // of one read
  static constexpr size_t kTurnsMax = 16;           // reads of one direction before others have theirs
  static constexpr size_t kBulkReads = 4;           // full reads in a row that make a direction worth a pipe
  static constexpr size_t kPipesMax = 256;          // in use at once; beyond that bytes are copied
  static constexpr int kPipeBytes = 256 << 10;      // of the kernel's memory, when full
  static constexpr size_t kPipesKept = 16;          // unused ones
  static constexpr auto kHalfClosedMax = std::chrono::minutes(5);
  static constexpr auto kSweepInterval = std::chrono::seconds(30);

  Relay(asio::io_context& loop, const base::Clock& clock);
  ~Relay();  // Closes all. REQUIRES: the loop runs no more.
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Takes both sockets, non-blocking ones. On an error (no memory in the kernel) both are closed.
  base::Status join(Socket client, Socket backend);
  size_t pairs() const { return pairs_.size(); }
  uint64_t bytes_moved() const { return bytes_moved_; }
  uint64_t bytes_spliced() const { return bytes_spliced_; }  // of these
  // Ends the pairs that moved nothing since then.
  void close_quiet(base::Instant since);
  // Called when the last pair has ended.
  void on_empty(std::function<void()> callback) { on_empty_ = std::move(callback); }

 private:
  struct Pair;
  struct Flow;
  struct Pipe {
    Socket in, out;  // ends of a pipe, not sockets; closed alike
    size_t bytes = 0;
  };
  enum class Moved { kAll, kMore, kBroken };

  void wait();
  void take_events();
  void take(const epoll_event& event);
  void run_pumped();
  void pump(Flow& flow);
  Moved move(Flow& flow);
  bool flush(Flow& flow);
  bool fill(Flow& flow);
  bool fill_pipe(Flow& flow);
  bool send_from_buffer(Flow& flow, size_t bytes);
  std::unique_ptr<Pipe> get_pipe();
  void put_pipe(std::unique_ptr<Pipe> pipe);
  void end(Pair& pair);
  void sweep();

  const base::Clock& clock_;
  asio::posix::basic_stream_descriptor<asio::io_context::executor_type> events_;
  asio::steady_timer sweeper_;
  std::vector<std::unique_ptr<Pair>> pairs_;  // each knows its place
  std::vector<std::unique_ptr<Pair>> ended_;  // until the events that may name them are done
  std::vector<Flow*> pumped_;                 // have more to move than their share of a turn
  std::vector<std::unique_ptr<Pipe>> idle_pipes_;
  size_t pipes_ = 0;
  std::unique_ptr<std::array<char, kBufferBytes>> buffer_;
  std::array<epoll_event, 256> batch_;
  base::Instant now_{};
  uint64_t bytes_moved_ = 0, bytes_spliced_ = 0;
  std::function<void()> on_empty_;
};

}  // namespace net
