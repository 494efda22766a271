#include "peer/member.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/bytes.h"
#include "base/log.h"

namespace peer {
namespace {

using base::Code;
using base::NodeId;
using base::Result;
using base::Status;
using wire::RaftMessage;
using wire::RaftMessageType;

// etcd's names of the streams in its lines.
const char* stream_name(Channel channel) { return channel == Channel::kAppend ? "stream MsgApp v2" : "stream Message"; }

// Takes a pointer out of a list again.
template <class T>
class Listed {
 public:
  Listed(std::vector<T*>& list, T* item) : list_(list), item_(item) { list_.push_back(item_); }
  ~Listed() { std::erase(list_, item_); }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;

 private:
  std::vector<T*>& list_;
  T* const item_;
};

// Nanoseconds since 1970 of "2026-11-22T16:52:52.123456789Z" (or with an offset); nullopt: no such time.
std::optional<int64_t> parse_time(const std::string& text) {
  std::tm parts{};
  int used = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
                  &parts.tm_min, &parts.tm_sec, &used) != 6) {
    return std::nullopt;
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  int64_t ns = static_cast<int64_t>(timegm(&parts)) * 1'000'000'000;
  size_t at = static_cast<size_t>(used);
  if (at < text.size() && text[at] == '.') {
    int64_t unit = 100'000'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10) ns += (text[at] - '0') * unit;
  }
  int hours = 0, minutes = 0;
  char sign = 0;
  if (std::sscanf(text.c_str() + at, "%c%2d:%2d", &sign, &hours, &minutes) == 3 && (sign == '+' || sign == '-')) {
    ns -= (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60) * int64_t{1'000'000'000};
  }
  return ns;
}

bool is_refused(const Status& status) { return status.text().find("connection refused") != std::string_view::npos; }

}  // namespace

// One stream that the other side opened, and what waits for it.
struct Member::Writer {
  Writer(asio::io_context& loop, Channel c, std::shared_ptr<Outlet> o)
      : channel(c), outlet(std::move(o)), frames(c), wake(loop) {}
  const Channel channel;
  const std::shared_ptr<Outlet> outlet;
  FrameWriter frames;
  net::Wake wake;
  std::deque<RaftMessage> queue;
  size_t queue_bytes = 0;
  bool beat = false;  // a link heartbeat is due
  bool writing = false;  // and may wait for long
  bool ended = false;    // what waits is still sent: a member that was removed hears of it so

  void end() {
    ended = true;
    if (writing) outlet->cut();
    wake.notify();
  }
};

// A sleep that close() ends.
struct Member::Pause {
  explicit Pause(Shared& s) : shared(s), wake(s.loop) {}
  ~Pause() { shared.timers.disarm(timer); }
  asio::awaitable<void> wait(base::Duration delay) {
    shared.timers.arm(timer, shared.now() + delay);
    co_await wake.wait();
    shared.timers.disarm(timer);
  }
  Shared& shared;
  net::Wake wake;
  net::Timer timer{[](void* self) { static_cast<Pause*>(self)->wake.notify(); }, this};
};

Member::Member(std::shared_ptr<Shared> shared, NodeId id, std::vector<std::string> urls, bool full)
    : shared_(std::move(shared)),
      id_(id),
      urls_(std::move(urls)),
      full_(full),
      sent_bytes_(shared_->metrics.sent_bytes.with({base::hex(id.value())})),
      received_bytes_(shared_->metrics.received_bytes.with({base::hex(id.value())})) {}

std::string Member::name() const { return base::hex(id_.value()); }

void Member::start() {
  if (!full_) return;
  const auto executor = shared_->loop.get_executor();
  (void)shared_->gate.spawn(executor, "peer stream", read_streams(shared_from_this(), Channel::kAppend));
  (void)shared_->gate.spawn(executor, "peer stream", read_streams(shared_from_this(), Channel::kMessage));
  (void)shared_->gate.spawn(executor, "peer probe", probe(shared_from_this()));
}

void Member::end_streams() {
  for (std::shared_ptr<Writer>& writer : writers_) {
    if (writer != nullptr) writer->end();
    writer.reset();
  }
}

void Member::close() {
  closed_ = true;
  end_streams();
  pipeline_.clear();
  for (HttpClient* client : clients_) client->close();
  for (Pause* pause : pauses_) pause->wake.notify();
  if (active_since_) {
    active_since_.reset();
    shared_->metrics.active_peers.with({base::hex(shared_->us.self.value()), name()}).set(0);
  }
}

void Member::set_urls(std::vector<std::string> urls) {
  urls_ = std::move(urls);
  url_at_ = 0;
  refused_urls_.clear();
}

void Member::rotate(const std::string& used) {
  if (used == url()) url_at_ = (url_at_ + 1) % urls_.size();
}

asio::awaitable<void> Member::pause_for(base::Duration delay) {
  Pause pause(*shared_);
  const Listed listed(pauses_, &pause);
  if (!closed_) co_await pause.wait(delay);
}

// --- is it there ------------------------------------------------------------------------------------------------------------

void Member::set_active() {
  gone_told_ = false;
  refused_urls_.clear();
  if (active_since_ || closed_) return;
  active_since_ = shared_->now();
  base::log::info("peer became active", {{"peer-id", name()}});
  shared_->metrics.active_peers.with({base::hex(shared_->us.self.value()), name()}).set(1);
}

void Member::set_inactive(const Status& why) {
  if (!active_since_ || closed_) return;
  active_since_.reset();
  base::log::warn("peer became inactive (message send to peer failed)", {{"peer-id", name()}, {"error", why}});
  shared_->metrics.active_peers.with({base::hex(shared_->us.self.value()), name()}).set(0);
  shared_->metrics.disconnected_peers.with({base::hex(shared_->us.self.value()), name()}).add();
}

void Member::report_unreachable() {
  if (unreachable_posted_) return;
  unreachable_posted_ = true;
  asio::post(shared_->loop, [self = shared_from_this()] {
    self->unreachable_posted_ = false;
    if (!self->closed_ && self->shared_->events != nullptr) self->shared_->events->on_unreachable(self->id_);
  });
}

void Member::count_received_failure() { shared_->metrics.received_failures.with({name()}).add(); }

bool Member::refuses() const {
  return std::all_of(urls_.begin(), urls_.end(), [this](const std::string& url) { return refused_urls_.contains(url); });
}

// All its connections broke and nobody listens any more: the process is gone, not only slow.
void Member::tell_if_gone() {
  if (closed_ || !refuses() || gone_told_ || has_writer() || shared_->events == nullptr) return;
  gone_told_ = true;
  shared_->events->on_gone(id_);
}

bool Member::has_writer() const {
  return std::any_of(writers_.begin(), writers_.end(), [](const auto& writer) { return writer != nullptr && !writer->ended; });
}

// --- what we send -----------------------------------------------------------------------------------------------------------

// Appends have a stream of their own; while it is down they take the other one.
Member::Writer* Member::writer_for(const RaftMessage& message) {
  Writer* appends = writers_[static_cast<size_t>(Channel::kAppend)].get();
  if (message.type == RaftMessageType::kApp && appends != nullptr) return appends;
  return writers_[static_cast<size_t>(Channel::kMessage)].get();
}

void Member::send(RaftMessage message) {
  if (closed_) return;
  if (Writer* writer = writer_for(message)) return enqueue(*writer, std::move(message));
  post(std::move(message));
}

void Member::drop(const RaftMessage& message) {
  base::log::warn("dropped internal Raft message since sending buffer is full (overloaded network)",
                  {{"message-type", static_cast<uint32_t>(message.type)},
                   {"local-member-id", base::hex(shared_->us.self.value())},
                   {"remote-peer-id", name()},
                   {"remote-peer-active", active_since_.has_value()}});
  shared_->metrics.sent_failures.with({name()}).add();
  report_unreachable();
}

void Member::enqueue(Writer& writer, RaftMessage message) {
  const size_t bytes = wire::held_bytes(message);
  const bool full = writer.queue.size() >= kStreamQueueMessagesMax || writer.queue_bytes + bytes > kStreamQueueBytesMax;
  if (full && !writer.queue.empty()) return drop(message);
  writer.queue_bytes += bytes;
  writer.queue.push_back(std::move(message));
  writer.wake.notify();
}

void Member::attach(Channel channel, std::shared_ptr<Outlet> outlet) {
  if (closed_) return outlet->end();
  std::shared_ptr<Writer>& slot = writers_[static_cast<size_t>(channel)];
  if (slot != nullptr) {
    slot->end();
    base::log::warn("closed TCP streaming connection with remote peer",
                    {{"stream-writer-type", stream_name(channel)},
                     {"local-member-id", base::hex(shared_->us.self.value())},
                     {"remote-peer-id", name()}});
  }
  slot = std::make_shared<Writer>(shared_->loop, channel, std::move(outlet));
  slot->outlet->on_closed([writer = std::weak_ptr<Writer>(slot)] {
    if (const std::shared_ptr<Writer> still = writer.lock()) still->end();
  });
  base::log::info("established TCP streaming connection with remote peer",
                  {{"stream-writer-type", stream_name(channel)},
                   {"local-member-id", base::hex(shared_->us.self.value())},
                   {"remote-peer-id", name()}});
  set_active();
  (void)shared_->gate.spawn(shared_->loop.get_executor(), "peer writer", write_stream(shared_from_this(), slot));
}

asio::awaitable<void> Member::write_stream(std::shared_ptr<Member>, std::shared_ptr<Writer> writer) {
  struct Deadlines {
    explicit Deadlines(Writer& w) : writer(w) {}
    Writer& writer;
    net::Timer beat{[](void* at) {
                      Writer& w = static_cast<Deadlines*>(at)->writer;
                      w.beat = true;
                      w.wake.notify();
                    },
                    this};
    net::Timer stall{[](void* at) { static_cast<Deadlines*>(at)->writer.outlet->cut(); }, this};
  } deadlines(*writer);
  net::TimerQueue& timers = shared_->timers;
  timers.arm(deadlines.beat, shared_->now() + shared_->timeouts.heartbeat());
  std::string out;
  Status written;
  while (written.ok() && !(writer->ended && writer->queue.empty())) {
    if (writer->queue.empty() && !writer->beat) {
      co_await writer->wake.wait();
      continue;
    }
    out.clear();
    if (std::exchange(writer->beat, false)) {
      writer->frames.append_heartbeat(out);
      timers.arm(deadlines.beat, shared_->now() + shared_->timeouts.heartbeat());
    }
    while (!writer->queue.empty() && out.size() < kWriteBytes) {
      writer->queue_bytes -= wire::held_bytes(writer->queue.front());
      writer->frames.append(writer->queue.front(), out);
      writer->queue.pop_front();
    }
    sent_bytes_.add(out.size());
    timers.arm(deadlines.stall, shared_->now() + shared_->timeouts.write);
    writer->writing = true;
    written = co_await writer->outlet->write(out);
    writer->writing = false;
    timers.disarm(deadlines.stall);
  }
  timers.disarm(deadlines.beat);
  std::shared_ptr<Writer>& slot = writers_[static_cast<size_t>(writer->channel)];
  const bool lost = slot == writer;
  if (lost) slot.reset();
  writer->ended = true;
  written.ok() ? writer->outlet->end() : writer->outlet->cut();
  if (!lost || closed_) co_return;
  base::log::warn("lost TCP streaming connection with remote peer", {{"stream-writer-type", stream_name(writer->channel)},
                                                                     {"local-member-id", base::hex(shared_->us.self.value())},
                                                                     {"remote-peer-id", name()}});
  if (!writer->queue.empty()) shared_->metrics.sent_failures.with({name()}).add(writer->queue.size());
  report_unreachable();
  tell_if_gone();
}

// --- POST /raft -------------------------------------------------------------------------------------------------------------

void Member::post(RaftMessage message) {
  if (pipeline_.size() >= kPipelineQueueMax) {
    shared_->metrics.sent_failures.with({name()}).add();
    return report_unreachable();
  }
  pipeline_.push_back(std::move(message));
  if (pipeline_workers_ >= kPipelineWorkersMax) return;
  if (shared_->gate.spawn(shared_->loop.get_executor(), "peer pipeline", work_pipeline(shared_from_this())))
    ++pipeline_workers_;
}

// Sends what waits over one connection, then goes.
asio::awaitable<void> Member::work_pipeline(std::shared_ptr<Member>) {
  HttpClient client(shared_->dialer, shared_->timers);
  const Listed listed(clients_, &client);
  while (!closed_ && !pipeline_.empty()) {
    const RaftMessage message = std::move(pipeline_.front());
    pipeline_.pop_front();
    const std::string used = url();
    Status sent;
    if (!client.is_open()) sent = co_await client.open(used, shared_->timeouts.dial);
    if (sent.ok()) sent = co_await post_message(client, message);
    if (closed_) break;
    if (sent.ok()) {
      set_active();
      continue;
    }
    rotate(used);
    set_inactive(sent);
    shared_->metrics.sent_failures.with({name()}).add();
    report_unreachable();
    // One that does not answer gets no more of these; raft sends anew what still matters.
    pipeline_.clear();
  }
  --pipeline_workers_;
}

asio::awaitable<Status> Member::post_message(HttpClient& client, const RaftMessage& message) {
  std::string body;
  wire::append_message(message, body);
  const size_t bytes = body.size();
  http1::Fields fields = request_fields(shared_->us, std::nullopt, "application/protobuf");
  Status sent = co_await client.request("POST", "/raft", std::move(fields), bytes, shared_->timeouts.write);
  if (sent.ok()) sent = co_await client.write(std::move(body), shared_->timeouts.write);
  if (!sent.ok()) co_return sent;
  Result<HttpClient::Answer> answer = co_await client.answer(kPipelineTimeout);
  if (!answer.ok()) co_return answer.status();
  sent_bytes_.add(bytes);
  if (answer->status == 204) co_return Status();
  if (answer->status == 403 && shared_->events != nullptr) shared_->events->on_self_removed();
  if (answer->status == 412) {
    const bool version = answer->body.starts_with("incompatible version");
    base::log::warn(version ? "request sent was ignored by remote peer due to server version incompatibility"
                            : "request sent was ignored by remote peer due to cluster ID mismatch",
                    {{"remote-peer-id", name()}, {"local-member-cluster-id", base::hex(shared_->us.cluster_id)}});
  }
  co_return Status(Code::kUnavailable, "unexpected http status " + http1::reason_phrase(answer->status) +
                                           " while posting to \"" + url() + "/raft\"");
}

// --- POST /raft/snapshot ----------------------------------------------------------------------------------------------------

void Member::send_snapshot(RaftMessage message, std::unique_ptr<SnapshotBody> body) {
  const bool started = !closed_ && snapshots_ < kSnapshotsToMemberMax &&
                       shared_->gate.spawn(shared_->loop.get_executor(), "peer snapshot",
                                           post_snapshot(shared_from_this(), std::move(message), std::move(body)));
  if (started) {
    ++snapshots_;
    return;
  }
  asio::post(shared_->loop, [shared = shared_, id = id_] {
    if (shared->events != nullptr) shared->events->on_snapshot_sent(id, false);
  });
}

asio::awaitable<void> Member::post_snapshot(std::shared_ptr<Member>, RaftMessage message, std::unique_ptr<SnapshotBody> body) {
  Metrics& metrics = shared_->metrics;
  HttpClient client(shared_->dialer, shared_->timers);
  const Listed listed(clients_, &client);
  const std::string used = url(), index = std::to_string(message.snapshot->index.value());
  const base::Instant began = shared_->now();
  metrics.snapshot_send_inflights.with({name()}).add(1);
  base::log::info("sending database snapshot", {{"snapshot-index", index}, {"remote-peer-id", name()}});
  Status sent = co_await client.open(used, shared_->timeouts.dial);
  if (sent.ok()) sent = co_await send_database(client, message, *body);
  body.reset();
  metrics.snapshot_send_inflights.with({name()}).add(-1);
  --snapshots_;
  if (sent.ok()) {
    set_active();
    metrics.snapshot_send_success.with({name()}).add();
    metrics.snapshot_send_duration.with({name()}).observe_ns((shared_->now() - began).count());
    base::log::info("sent database snapshot", {{"snapshot-index", index}, {"remote-peer-id", name()}});
  } else {
    rotate(used);
    set_inactive(sent);
    metrics.snapshot_send_failures.with({name()}).add();
    base::log::warn("failed to send database snapshot",
                    {{"snapshot-index", index}, {"remote-peer-id", name()}, {"error", sent}});
    report_unreachable();
  }
  if (shared_->events != nullptr) shared_->events->on_snapshot_sent(id_, sent.ok());
}

asio::awaitable<Status> Member::send_database(HttpClient& client, const RaftMessage& message, SnapshotBody& body) {
  struct Arrival {
    explicit Arrival(asio::io_context& loop) : wake(loop) {}
    net::Wake wake;
    std::optional<Result<uint64_t>> size;
    std::optional<Result<std::string>> piece;
  };
  // Shared: an answer may come after this coroutine went.
  const auto arrival = std::make_shared<Arrival>(shared_->loop);
  body.open([arrival](Result<uint64_t> size) {
    arrival->size = std::move(size);
    arrival->wake.notify();
  });
  while (!arrival->size) co_await arrival->wake.wait();
  if (!arrival->size->ok()) co_return arrival->size->status();
  std::string head;
  base::append_be64(head, wire::encoded_size(message));
  wire::append_message(message, head);
  const uint64_t length = head.size() + **arrival->size;
  http1::Fields fields = request_fields(shared_->us, std::nullopt, "application/octet-stream");
  Status sent = co_await client.request("POST", "/raft/snapshot", std::move(fields), length, kSnapshotStall);
  if (sent.ok()) sent = co_await client.write(std::move(head), kSnapshotStall);
  while (sent.ok() && !closed_) {
    arrival->piece.reset();
    body.next([arrival](Result<std::string> piece) {
      arrival->piece = std::move(piece);
      arrival->wake.notify();
    });
    while (!arrival->piece) co_await arrival->wake.wait();
    if (!arrival->piece->ok()) co_return arrival->piece->status();
    if ((*arrival->piece)->empty()) break;
    sent_bytes_.add((*arrival->piece)->size());
    std::string bytes = std::move(**arrival->piece);
    sent = co_await client.write(std::move(bytes), kSnapshotStall);
  }
  if (!sent.ok()) co_return sent;
  if (closed_) co_return Status(Code::kCancelled, "context canceled");
  Result<HttpClient::Answer> answer = co_await client.answer(kSnapshotAnswerTimeout);
  if (!answer.ok()) co_return answer.status();
  if (answer->status == 204) co_return Status();
  if (answer->status == 403 && shared_->events != nullptr) shared_->events->on_self_removed();
  co_return Status(Code::kUnavailable, "unexpected http status " + std::to_string(answer->status) +
                                           " while posting a database: " + answer->body.substr(0, 256));
}

// --- what it sends ----------------------------------------------------------------------------------------------------------

asio::awaitable<void> Member::read_streams(std::shared_ptr<Member>, Channel channel) {
  base::log::info("started stream reader with remote peer", {{"stream-reader-type", stream_name(channel)},
                                                             {"local-member-id", base::hex(shared_->us.self.value())},
                                                             {"remote-peer-id", name()}});
  bool was_open = false;
  while (!closed_) {
    const base::Instant began = shared_->now();
    const std::string used = url();
    HttpClient client(shared_->dialer, shared_->timers);
    was_open = false;
    Status ended;
    {
      const Listed listed(clients_, &client);
      ended = co_await read_stream(channel, client, used, &was_open);
    }
    if (closed_) break;
    rotate(used);
    set_inactive(ended);
    if (!was_open && is_refused(ended))
      refused_urls_.insert(used);
    else
      refused_urls_.erase(used);
    tell_if_gone();
    const base::Duration spent = shared_->now() - began;
    if (spent < kRetryStream) co_await pause_for(kRetryStream - spent);
  }
  base::log::info("stopped stream reader with remote peer", {{"stream-reader-type", stream_name(channel)},
                                                             {"local-member-id", base::hex(shared_->us.self.value())},
                                                             {"remote-peer-id", name()}});
}

asio::awaitable<Status> Member::read_stream(Channel channel, HttpClient& client, std::string url, bool* was_open) {
  Status status = co_await client.open(url, shared_->timeouts.dial);
  if (!status.ok()) co_return status;
  client.set_dead_after(shared_->timeouts.read);
  http1::Fields fields = request_fields(shared_->us, id_, {});
  std::string path = std::string(kStreamPrefix) + std::string(path_of(channel)) + "/" + base::hex(shared_->us.self.value());
  status = co_await client.request("GET", std::move(path), std::move(fields), 0, shared_->timeouts.write);
  if (!status.ok()) co_return status;
  Result<http1::Event> event = co_await client.next(shared_->timeouts.read);
  if (!event.ok()) co_return event.status();
  const int answered = client.head().status;
  const StreamAnswer meaning = judge_stream_answer(answered);
  if (meaning == StreamAnswer::kRemoved) {
    base::log::warn("rejected stream from remote peer because it was removed",
                    {{"local-member-id", base::hex(shared_->us.self.value())}, {"remote-peer-id", name()}});
    if (shared_->events != nullptr) shared_->events->on_self_removed();
    co_return Status(Code::kUnavailable, "the member has been permanently removed from the cluster");
  }
  if (meaning == StreamAnswer::kNo) {
    if (answered == 412) {
      base::log::warn("request sent was ignored by remote peer due to cluster ID mismatch or server version incompatibility",
                      {{"remote-peer-id", name()}, {"local-member-cluster-id", base::hex(shared_->us.cluster_id)}});
    }
    co_return Status(Code::kUnavailable, "unhandled stream status " + http1::reason_phrase(answered));
  }
  *was_open = true;
  set_active();
  base::log::info("established TCP streaming connection with remote peer",
                  {{"stream-reader-type", stream_name(channel)},
                   {"local-member-id", base::hex(shared_->us.self.value())},
                   {"remote-peer-id", name()}});
  status = co_await listen(channel, client);
  if (!closed_) {
    base::log::warn("lost TCP streaming connection with remote peer", {{"stream-reader-type", stream_name(channel)},
                                                                       {"local-member-id", base::hex(shared_->us.self.value())},
                                                                       {"remote-peer-id", name()},
                                                                       {"error", status}});
    count_received_failure();
  }
  co_return status;
}

asio::awaitable<Status> Member::listen(Channel channel, HttpClient& client) {
  FrameReader frames(channel, shared_->us.self, id_);
  std::vector<RaftMessage> messages;
  uint64_t counted = client.bytes_received();
  for (;;) {
    // As with etcd's members, whose dialer has no such deadline, a connection that carries nothing is kept while it lives: what
    // swallows bytes in between (etcd's tests do) would else be got around, as the other member then answers by POST.
    Result<http1::Event> event = co_await client.next(kSilentStream);
    if (!event.ok()) co_return event.status();
    if (*event == http1::Event::kEnd) co_return Status(Code::kOutOfRange, "EOF");
    if (*event != http1::Event::kBody) continue;
    received_bytes_.add(client.bytes_received() - std::exchange(counted, client.bytes_received()));
    Status fed = frames.feed(client.body(), messages);
    if (!messages.empty()) deliver(messages);
    if (!fed.ok()) co_return fed;
  }
}

void Member::deliver(std::vector<RaftMessage>& messages) {
  std::erase_if(messages, [this](const RaftMessage& message) {
    return message.to != shared_->us.self || message.type == RaftMessageType::kSnap;
  });
  if (closed_ || shared_->events == nullptr || messages.empty()) return messages.clear();
  shared_->events->on_messages(std::exchange(messages, {}));
}

// --- probing ----------------------------------------------------------------------------------------------------------------

asio::awaitable<void> Member::probe(std::shared_ptr<Member>) {
  base::metrics::Histogram& round_trips = shared_->metrics.round_trip_time.with({name()});
  std::unique_ptr<HttpClient> client;
  base::Instant reported{};
  while (!closed_) {
    co_await pause_for(shared_->timeouts.probe_interval());
    if (closed_) break;
    if (client == nullptr || !client->is_open()) client = std::make_unique<HttpClient>(shared_->dialer, shared_->timers);
    base::Duration round_trip{0}, drift{0};
    Status probed;
    {
      const Listed listed(clients_, client.get());
      if (!client->is_open()) probed = co_await client->open(url(), shared_->timeouts.dial);
      if (probed.ok()) probed = co_await probe_once(*client, &round_trip, &drift);
    }
    if (closed_) break;
    if (probed.ok())
      round_trips.observe_ns(round_trip.count());
    else
      client.reset();
    const bool drifts = drift > kClockDriftMax || drift < -kClockDriftMax;
    if ((probed.ok() && !drifts) || shared_->now() - reported < kProbeReportInterval) continue;
    reported = shared_->now();
    if (!probed.ok()) {
      base::log::warn("prober detected unhealthy status", {{"round-tripper-name", "ROUND_TRIPPER_RAFT_MESSAGE"},
                                                           {"remote-peer-id", name()},
                                                           base::log::Field::duration("rtt", round_trip.count()),
                                                           {"error", probed}});
    } else {
      base::log::warn("prober found high clock drift", {{"round-tripper-name", "ROUND_TRIPPER_RAFT_MESSAGE"},
                                                        {"remote-peer-id", name()},
                                                        base::log::Field::duration("clock-drift", drift.count()),
                                                        base::log::Field::duration("rtt", round_trip.count())});
    }
  }
}

asio::awaitable<Status> Member::probe_once(HttpClient& client, base::Duration* round_trip, base::Duration* drift) {
  const base::Instant began = shared_->now();
  http1::Fields fields;
  Status sent = co_await client.request("GET", "/raft/probing", std::move(fields), 0, kProbeTimeout);
  if (!sent.ok()) co_return sent;
  Result<HttpClient::Answer> answer = co_await client.answer(kProbeTimeout);
  if (!answer.ok()) co_return answer.status();
  *round_trip = shared_->now() - began;
  if (answer->status != 200) co_return Status(Code::kUnavailable, "unexpected http status " + std::to_string(answer->status));
  const size_t at = answer->body.find("\"Now\":\"");
  const std::optional<int64_t> theirs = at == std::string::npos ? std::nullopt : parse_time(answer->body.substr(at + 7));
  if (!theirs) co_return Status(Code::kUnavailable, "no answer of a prober");
  *drift = base::Duration(shared_->timers.clock().unix_ns() - round_trip->count() / 2 - *theirs);
  co_return Status();
}

}  // namespace peer
