// One loop that owns connections: its timers, its shared buffers, its pool of calls, and the mailbox to and from the home
// loop. With zero net loops home is also the owner and every crossing is a plain function call; otherwise what crosses in
// one turn travels as one batch with one wake-up.
#pragma once

#include <asio.hpp>
#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "net/timer_queue.h"

namespace rpc {

class Call;
class Connection;
struct ServerCore;

inline constexpr size_t kReadBufferBytes = 64 * 1024;
inline constexpr size_t kCallsPooledMax = 1024;  // idle call objects kept for reuse, a loop

// What the two halves of a call tell each other (see call.h).
struct CallMessage {
  enum class Kind : uint8_t {
    // owner -> home
    kUnary,      // the request is complete
    kStream,     // a streaming call begins
    kMessage,    // bytes: the next request message; number: window credit owed for it
    kHalfClose,  // the client will send no more
    kDrained,    // number: bytes that left the queue
    kPull,       // number: the source shall produce up to so much
    kDead,       // status: the stream is over; the last message in this direction
    // home -> owner
    kReply,       // bytes: the answer of a unary call; the home half is done
    kFailure,     // status: instead of an answer; the home half is done
    kSource,      // number: size of an answer that follows in chunks
    kChunk,       // bytes
    kChunkError,  // status
    kSend,        // bytes, shared: one message of a stream
    kConsumed,    // number: window credit to give back; one message was read
    kEnd,         // status: the stream handler has returned
    kReleased,    // the home half is done; the last message in this direction
  };
  Call* call = nullptr;
  Kind kind = Kind::kReleased;
  uint64_t number = 0;
  std::string bytes;
  std::shared_ptr<const std::string> shared;
  base::Status status;
};

class NetLoop : public std::enable_shared_from_this<NetLoop> {
 public:
  NetLoop(asio::io_context& io, asio::io_context& home, const base::Clock& clock, std::shared_ptr<ServerCore> core);
  ~NetLoop();
  NetLoop(const NetLoop&) = delete;
  NetLoop& operator=(const NetLoop&) = delete;

  asio::io_context& io() { return io_; }
  asio::io_context& home() { return home_; }
  bool is_home() const { return &io_ == &home_; }
  const base::Clock& clock() const { return clock_; }
  net::TimerQueue& timers() { return timers_; }
  // Valid within a turn only: connections share them.
  char* read_buffer() { return read_buffer_.get(); }
  std::string& out_buffer() { return out_buffer_; }

  // Runs `task` on the other side: directly when both are one loop.
  template <class Task>
  void on_home(Task task) {
    if (is_home()) {
      task();
    } else {
      asio::post(home_, std::move(task));
    }
  }
  template <class Task>
  void on_owner(Task task) {
    if (is_home()) {
      task();
    } else {
      asio::post(io_, std::move(task));
    }
  }

  void to_home(CallMessage message);   // from the owner's thread
  void to_owner(CallMessage message);  // from the home thread

  // The connection has something to send: it is flushed once at the end of the turn. Owner's thread.
  void mark_dirty(std::shared_ptr<Connection> connection);

  Call* take_call();
  void recycle(Call* call);

  // Owner's thread. Connections are listed so that a stop can reach them.
  void add(Connection* connection) { connections_.insert(connection); }
  void remove(Connection* connection) { connections_.erase(connection); }
  std::vector<std::shared_ptr<Connection>> connections() const;
  // Those that have not yet said what they are, oldest first.
  std::list<Connection*>& openings() { return openings_; }
  // No more timers or pooled calls; calls still held by handlers are freed as they come back.
  void stop();

  struct Counters {
    std::atomic<uint64_t> streams{0}, bytes_received{0}, bytes_sent{0};
  };
  Counters counters;

 private:
  void flush_dirty();

  asio::io_context& io_;
  asio::io_context& home_;
  const base::Clock& clock_;
  const std::shared_ptr<ServerCore> core_;
  net::TimerQueue timers_;
  std::unique_ptr<char[]> read_buffer_;
  std::string out_buffer_;
  std::unordered_set<Connection*> connections_;
  std::list<Connection*> openings_;
  std::vector<std::shared_ptr<Connection>> dirty_;
  std::vector<std::unique_ptr<Call>> idle_calls_;
  std::vector<CallMessage> home_batch_;   // owner's: collected for home
  std::vector<CallMessage> owner_batch_;  // home's: collected for the owner
  bool flush_posted_ = false;
  bool home_posted_ = false;
  bool owner_posted_ = false;
  bool stopped_ = false;
};

}  // namespace rpc
