// One other member: which way a message to it takes, what waits for it, whether it is there. Streams it opened to us carry what
// we send; two more, opened by us, bring what it sends (frames.h). Owner: core loop; coroutines hold it by shared_ptr.
#pragma once

#include <array>
#include <asio.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/spawn.h"
#include "net/timer_queue.h"
#include "net/wake.h"
#include "peer/frames.h"
#include "peer/http_client.h"
#include "peer/metrics.h"
#include "peer/transport.h"

namespace peer {

inline constexpr size_t kStreamQueueMessagesMax = 4096;               // waiting for one stream, as in etcd
inline constexpr size_t kStreamQueueBytesMax = 64u << 20;             // the same in bytes; one message always fits
inline constexpr size_t kPipelineQueueMax = 64;                       // waiting for POST /raft
inline constexpr int kPipelineWorkersMax = 4;                         // POSTs under way at once
inline constexpr int kSnapshotsToMemberMax = 2;                       // databases on their way to one member
inline constexpr size_t kWriteBytes = 256 * 1024;                     // frames made before the socket is asked again
inline constexpr auto kRetryStream = std::chrono::milliseconds(100);  // from one attempt to the next
// Nothing on a stream, not even the beats of every heartbeat(): the connection lives, but somebody swallows what it carries.
inline constexpr auto kSilentStream = std::chrono::minutes(2);
inline constexpr auto kPipelineTimeout = std::chrono::seconds(10);  // a POST's answer: applying may hold it up
inline constexpr auto kSnapshotStall = std::chrono::seconds(30);    // one write of a database
inline constexpr auto kSnapshotAnswerTimeout = std::chrono::minutes(30);
inline constexpr auto kProbeTimeout = std::chrono::seconds(5);
inline constexpr auto kProbeReportInterval = std::chrono::seconds(30);  // between lines about one member
inline constexpr auto kClockDriftMax = std::chrono::seconds(1);

// The answer to a stream that another member opened: frames go into it until one of us ends it.
class Outlet {
 public:
  virtual ~Outlet() = default;
  // Waits until the socket has room. An error: the stream is dead.
  virtual asio::awaitable<base::Status> write(std::string bytes) = 0;
  // Ends it behind what was written: the other side sees a stream that is over, not one that broke.
  virtual void end() = 0;
  // Ends it now, even while a write waits.
  virtual void cut() = 0;
  virtual void on_closed(std::function<void()> callback) = 0;
};

// How long things between members may take.
struct Timeouts {
  base::Duration dial = std::chrono::seconds(2);   // 1 s + election timeout
  base::Duration read = std::chrono::seconds(5);   // without an answer, or a sign of life of a stream's connection
  base::Duration write = std::chrono::seconds(5);  // of one write to a stream

  base::Duration heartbeat() const { return read / 3; }  // on a stream that has nothing else
  base::Duration probe_interval() const { return read - std::chrono::seconds(1); }
};

// What all members share; outlives their coroutines.
struct Shared {
  Shared(asio::io_context& l, const base::Clock& c, Dialer& d, Metrics& m, Identity i, Timeouts t)
      : loop(l), timers(l, c), dialer(d), metrics(m), us(std::move(i)), timeouts(t), gate(l) {}
  asio::io_context& loop;
  net::TimerQueue timers;
  Dialer& dialer;
  Metrics& metrics;
  const Identity us;
  const Timeouts timeouts;
  net::Gate gate;
  Events* events = nullptr;  // null: stopped

  base::Instant now() const { return timers.clock().now(); }
};

class Member : public std::enable_shared_from_this<Member> {
 public:
  // `full`: we listen to it and probe it; else it is only sent to (it knows us before we know it).
  Member(std::shared_ptr<Shared> shared, base::NodeId id, std::vector<std::string> urls, bool full);
  void start();
  // Ends the streams that it opened here, behind what waits for them; it may open others.
  void end_streams();
  // Ends all coroutines soon.
  void close();

  base::NodeId id() const { return id_; }
  bool full() const { return full_; }
  void set_urls(std::vector<std::string> urls);

  void send(wire::RaftMessage message);
  void send_snapshot(wire::RaftMessage message, std::unique_ptr<SnapshotBody> body);
  // It has opened a stream; one there was of the same kind ends.
  void attach(Channel channel, std::shared_ptr<Outlet> outlet);
  std::optional<base::Instant> active_since() const { return active_since_; }
  // It has a stream open to us: what we send takes that.
  bool has_writer() const;

  void count_received(size_t bytes) { received_bytes_.add(bytes); }
  void count_received_failure();

 private:
  struct Writer;
  struct Pause;

  bool refuses() const;
  void tell_if_gone();
  Writer* writer_for(const wire::RaftMessage& message);
  void enqueue(Writer& writer, wire::RaftMessage message);
  void post(wire::RaftMessage message);
  void drop(const wire::RaftMessage& message);

  // `self` keeps us alive from before the coroutine begins to run.
  asio::awaitable<void> write_stream(std::shared_ptr<Member> self, std::shared_ptr<Writer> writer);
  asio::awaitable<void> read_streams(std::shared_ptr<Member> self, Channel channel);
  asio::awaitable<base::Status> read_stream(Channel channel, HttpClient& client, std::string url, bool* was_open);
  asio::awaitable<base::Status> listen(Channel channel, HttpClient& client);
  void deliver(std::vector<wire::RaftMessage>& messages);
  asio::awaitable<void> work_pipeline(std::shared_ptr<Member> self);
  asio::awaitable<base::Status> post_message(HttpClient& client, const wire::RaftMessage& message);
  asio::awaitable<void> post_snapshot(std::shared_ptr<Member> self, wire::RaftMessage message,
                                      std::unique_ptr<SnapshotBody> body);
  asio::awaitable<base::Status> send_database(HttpClient& client, const wire::RaftMessage& message, SnapshotBody& body);
  asio::awaitable<void> probe(std::shared_ptr<Member> self);
  asio::awaitable<base::Status> probe_once(HttpClient& client, base::Duration* round_trip, base::Duration* drift);
  asio::awaitable<void> pause_for(base::Duration delay);

  void set_active();
  void set_inactive(const base::Status& why);
  void report_unreachable();
  std::string url() const { return urls_[url_at_ % urls_.size()]; }
  void rotate(const std::string& used);
  std::string name() const;

  const std::shared_ptr<Shared> shared_;
  const base::NodeId id_;
  std::vector<std::string> urls_;
  size_t url_at_ = 0;
  const bool full_;
  bool closed_ = false;
  std::array<std::shared_ptr<Writer>, 2> writers_;  // by Channel; null: it has no such stream open
  std::deque<wire::RaftMessage> pipeline_;
  int pipeline_workers_ = 0;
  int snapshots_ = 0;
  std::vector<HttpClient*> clients_;  // of the coroutines, to close them
  std::vector<Pause*> pauses_;
  std::optional<base::Instant> active_since_;
  bool unreachable_posted_ = false;
  bool gone_told_ = true;               // since it was active last
  std::set<std::string> refused_urls_;  // those of its URLs where nobody listens, as of the last attempts
  base::metrics::Counter& sent_bytes_;
  base::metrics::Counter& received_bytes_;
};

}  // namespace peer
