// Random histories against a list of all events: puts, deletes, transactions, compactions, watches of every kind, cancels,
// slow readers, streams that come and go, and the background's work cut into its steps between them. Each watcher must hear
// what its filters let through, in order, once, whole revisions, with the pair before, from where it began on without a gap;
// or end by a compaction that took what it had not heard. Progress must be true when it is told.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "unit/mvcc/watch_fixture.h"

using mvcc_test::Fixture;
using mvcc_test::Sink;
using mvcc_test::WatchFixture;

namespace {

struct Happened {
  int64_t main;
  bool is_delete;
  mvccpb::KeyValue pair;
  std::optional<mvccpb::KeyValue> prev;
};

// What one watcher asked for and heard.
struct Told {
  mvcc::WatchRequest request;
  std::string begin, end;
  int64_t from = 0;        // first revision it wants
  size_t next = 0;         // into the list of what happened: everything before was heard or is not for it
  bool announced = false;  // its created response was read: what was queued before is not about it
  bool ended = false;      // by a compaction
};

class Story {
 public:
  explicit Story(uint64_t seed) : rng_(seed), world_(limits(seed), options(seed)) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      one();
      check_some();
    }
    // Everybody reads to the end.
    for (int i = 0; i < 100000; ++i) {
      for (auto& stream : streams_) take(*stream, SIZE_MAX);
      if (!world_.step()) {
        const size_t behind = world_.hub.statistics().slow_watchers;
        for (auto& stream : streams_) world_.hub.drained(stream->handle);
        if (behind == 0) break;
      }
    }
    for (auto& stream : streams_) {
      take(*stream, SIZE_MAX);
      for (auto& [id, told] : stream->watchers) {
        if (!told.ended) CHECK(outstanding(told) == happened_.size());
      }
    }
    while (!streams_.empty()) close(0);
    world_.run();
    CHECK(world_.hub.statistics().watchers == 0);
    CHECK(world_.hub.statistics().bytes == 0);
  }

  uint64_t events_checked() const { return events_checked_; }
  uint64_t compacted() const { return compacted_watchers_; }
  uint64_t progress() const { return progress_; }

 private:
  struct Stream {
    explicit Stream(size_t room) : sink(room) {}
    Sink sink;
    mvcc::WatchStream* handle = nullptr;
    std::map<int64_t, Told> watchers;
  };

  static mvcc::WatchLimits limits(uint64_t seed) {
    base::Rng rng(seed + 1000);
    mvcc::WatchLimits limits;
    limits.live_prev_loads_max = rng.below(3);
    limits.watchers_max = 1 + rng.below(6);
    limits.near_revisions = static_cast<int64_t>(rng.below(20));
    limits.chunk_rows = 1 + rng.below(8);
    limits.chunk_bytes = 1 + rng.below(300);
    limits.response_revisions = 1 + rng.below(5);
    limits.chunks_max = 1 + rng.below(6);
    limits.prev_step = 1 + rng.below(3);
    limits.tail_events_max = rng.below(12);
    limits.tail_step = 1 + rng.below(4);
    limits.close_step = 1 + rng.below(5);
    return limits;
  }
  static mvcc::Options options(uint64_t seed) {
    mvcc::Options options;
    options.hot_bytes_max = seed % 3 == 0 ? 0 : 1 << 12;
    options.compaction_batch_rows = 1 + seed % 5;
    return options;
  }

  std::string key() { return std::string(1, static_cast<char>('a' + rng_.below(8))); }
  std::string range_end(const std::string& begin) {
    if (rng_.one_in(2)) return {};
    if (rng_.one_in(4)) return std::string("\0", 1);
    return std::string(1, static_cast<char>(begin[0] + 1 + static_cast<int>(rng_.below(4))));
  }

  void one() {
    const uint64_t choice = rng_.below(100);
    if (choice < 45) return write();
    if (choice < 47) return compact();
    if (choice < 57) return watch();
    if (choice < 60) return cancel();
    if (choice < 62) return open();
    if (choice < 63 && streams_.size() > 2) return close(rng_.below(streams_.size()));
    if (choice < 75) {
      (void)world_.step();
      return;
    }
    if (choice < 78) return step_compaction();
    if (streams_.empty()) return open();
    Stream& stream = *streams_[rng_.below(streams_.size())];
    if (choice < 90) {
      take(stream, 1 + rng_.below(3));
      if (!stream.sink.full()) world_.hub.drained(stream.handle);
    } else if (choice < 96) {
      world_.hub.request_progress(stream.handle);
    } else {
      world_.hub.tick_progress(stream.handle);
    }
  }

  void put(mvcc::Store::WriteTxn& txn, const std::string& name) {
    const std::string value = "v" + std::to_string(rng_.below(1000));
    txn.put(name, value, base::LeaseId());
    Happened now{txn.revision(), false, {}, {}};
    now.pair.set_key(name);
    now.pair.set_value(value);
    now.pair.set_mod_revision(now.main);
    if (const auto before = live_.find(name); before != live_.end()) {
      now.prev = before->second;
      now.pair.set_create_revision(before->second.create_revision());
      now.pair.set_version(before->second.version() + 1);
    } else {
      now.pair.set_create_revision(now.main);
      now.pair.set_version(1);
    }
    live_[name] = now.pair;
    happened_.push_back(std::move(now));
  }

  void remove(mvcc::Store::WriteTxn& txn, const std::string& begin, const std::string& end) {
    std::vector<std::string> gone;
    for (const auto& [name, pair] : live_) {
      if (mvcc::RangeKey{begin, end}.contains(name)) gone.push_back(name);
    }
    CHECK(txn.delete_range(begin, end) == static_cast<int64_t>(gone.size()));
    for (const std::string& name : gone) {
      Happened now{txn.revision(), true, {}, live_[name]};
      now.pair.set_key(name);
      now.pair.set_mod_revision(now.main);
      live_.erase(name);
      happened_.push_back(std::move(now));
    }
  }

  // A transaction; no key is written twice in it. What it does is in the model before the hub tells anybody.
  void write() {
    mvcc::Store::WriteTxn txn(*world_.db.store);
    if (rng_.one_in(3)) {
      const std::string begin = key();
      remove(txn, begin, range_end(begin));
    } else {
      std::set<std::string> names;
      for (uint64_t n = rng_.one_in(3) ? 1 + rng_.below(5) : 1; n > 0; --n) names.insert(key());
      for (const std::string& name : names) put(txn, name);
    }
    txn.commit();
  }

  void compact() {
    const int64_t current = world_.db.store->current_revision();
    if (!world_.db.store->compact(current - static_cast<int64_t>(rng_.below(30))).ok()) return;
    compact_revision_ = world_.db.store->compact_revision();
    compactions_.insert(compact_revision_);
  }
  void step_compaction() {
    if (compaction_ == nullptr) compaction_ = world_.db.store->next_compaction();
    if (compaction_ == nullptr) return;
    if (compaction_->wants_read()) compaction_->read();
    if (compaction_->step()) compaction_.reset();
  }

  void open() {
    if (streams_.size() >= 6) return;
    auto stream = std::make_unique<Stream>(rng_.one_in(3) ? SIZE_MAX : 1 + rng_.below(4));
    stream->handle = world_.hub.open(stream->sink);
    streams_.push_back(std::move(stream));
  }
  void close(size_t at) {
    world_.hub.close(streams_[at]->handle);
    streams_.erase(streams_.begin() + static_cast<long>(at));
  }

  void watch() {
    if (streams_.empty()) return;
    Stream& stream = *streams_[rng_.below(streams_.size())];
    const int64_t current = world_.db.store->current_revision();
    Told told;
    told.begin = key();
    told.end = range_end(told.begin);
    mvcc::WatchRequest& request = told.request;
    request.range = {told.begin, told.end};
    if (rng_.one_in(2)) request.start_revision = 1 + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(current) + 5));
    if (rng_.one_in(4)) request.watch_id = static_cast<int64_t>(rng_.below(20)) - 2;
    if (request.watch_id == mvcc::WatchHub::kAllWatchers) request.watch_id = -3;  // Progress of -1 would mean two things.
    request.prev_kv = rng_.one_in(2);
    request.no_put = rng_.one_in(5);
    request.no_delete = rng_.one_in(5);
    request.progress_notify = rng_.one_in(3);
    const base::Result<int64_t> id = world_.hub.watch(stream.handle, request);
    CHECK(id.ok() == (request.watch_id == 0 || !stream.watchers.contains(request.watch_id)));
    if (!id.ok()) return;
    told.from = request.start_revision == 0 ? current + 1 : request.start_revision;
    CHECK(stream.watchers.emplace(*id, std::move(told)).second);
    stream.sink.queue.push_back({.watch_id = *id, .created = true});
  }

  void cancel() {
    if (streams_.empty()) return;
    Stream& stream = *streams_[rng_.below(streams_.size())];
    take(stream, SIZE_MAX);  // What is queued for it was heard before.
    const auto id = static_cast<int64_t>(rng_.below(15));
    CHECK(world_.hub.cancel(stream.handle, id) == stream.watchers.contains(id));
    stream.watchers.erase(id);
  }

  bool wanted(const Told& told, const Happened& event) const {
    return event.main >= told.from && mvcc::RangeKey{told.begin, told.end}.contains(event.pair.key()) &&
           !(event.is_delete ? told.request.no_delete : told.request.no_put);
  }
  // The next event for it.
  size_t rest(const Told& told, size_t at) const {
    while (at < happened_.size() && !wanted(told, happened_[at])) ++at;
    return at;
  }
  // A compaction keeps the pairs of its revision, but takes the deletes.
  bool may_be_gone(const Happened& event) const { return event.is_delete && compactions_.contains(event.main); }
  // The next event that it has to hear.
  size_t outstanding(const Told& told) const {
    size_t at = rest(told, told.next);
    while (at < happened_.size() && may_be_gone(happened_[at])) at = rest(told, at + 1);
    return at;
  }

  void take(Stream& stream, size_t count) {
    for (; count > 0 && !stream.sink.queue.empty(); --count) {
      const Sink::Response response = std::move(stream.sink.queue.front());
      stream.sink.queue.pop_front();
      if (response.created) {
        stream.watchers.at(response.watch_id).announced = true;
        continue;
      }
      if (response.progress) {
        ++progress_;
        for (auto& [id, told] : stream.watchers) {
          if (!told.announced) continue;
          if (response.watch_id != -1 && response.watch_id != id) continue;
          if (response.watch_id != -1) CHECK(told.request.progress_notify);
          const size_t at = outstanding(told);
          const bool true_for_it = at == happened_.size() || happened_[at].main > response.revision;
          CHECK_MESSAGE(true_for_it, "watcher " << id << " [" << told.begin << ", " << told.end << ") from " << told.from
                                                << " of flags " << told.request.no_put << told.request.no_delete << " lacks "
                                                << happened_[at].main << " at progress " << response.revision << " for "
                                                << response.watch_id);
        }
        continue;
      }
      const auto found = stream.watchers.find(response.watch_id);
      REQUIRE(found != stream.watchers.end());
      Told& told = found->second;
      CHECK(told.announced);
      CHECK_FALSE(told.ended);
      if (response.compact_revision > 0) {
        ++compacted_watchers_;
        told.ended = true;
        CHECK(response.compact_revision <= compact_revision_);
        CHECK(told.from < response.compact_revision);
        continue;
      }
      CHECK_FALSE(response.events.empty());
      for (const mvccpb::Event& event : response.events) hear(told, event);
      // Whole revisions, and nothing newer than the header says.
      const size_t at = outstanding(told);
      CHECK((at == happened_.size() || happened_[at].main > response.events.back().kv().mod_revision()));
      CHECK(response.events.back().kv().mod_revision() <= response.revision);
    }
  }

  void hear(Told& told, const mvccpb::Event& event) {
    told.next = rest(told, told.next);
    while (told.next < happened_.size() && may_be_gone(happened_[told.next]) &&
           (happened_[told.next].main != event.kv().mod_revision() || happened_[told.next].pair.key() != event.kv().key())) {
      told.next = rest(told, told.next + 1);
    }
    REQUIRE(told.next < happened_.size());
    const Happened& expected = happened_[told.next++];
    ++events_checked_;
    CHECK((event.type() == mvccpb::Event::DELETE) == expected.is_delete);
    CHECK(event.kv().SerializeAsString() == expected.pair.SerializeAsString());
    if (!told.request.prev_kv) {
      CHECK_FALSE(event.has_prev_kv());
    } else if (event.has_prev_kv()) {
      REQUIRE(expected.prev.has_value());
      CHECK(event.prev_kv().SerializeAsString() == expected.prev->SerializeAsString());
    } else {
      CHECK((!expected.prev || expected.main - 1 < compact_revision_));
    }
  }

  void check_some() {
    size_t watchers = 0;
    for (const auto& stream : streams_) watchers += stream->watchers.size();
    CHECK(world_.hub.statistics().watchers >= watchers);
    CHECK(world_.hub.statistics().slow_watchers <= world_.hub.statistics().watchers);
  }

  base::Rng rng_;
  WatchFixture world_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::unique_ptr<mvcc::CompactionTask> compaction_;
  std::map<std::string, mvccpb::KeyValue> live_;
  std::vector<Happened> happened_;
  int64_t compact_revision_ = -1;
  std::set<int64_t> compactions_;
  uint64_t events_checked_ = 0, compacted_watchers_ = 0, progress_ = 0;
};

}  // namespace

TEST_CASE("watch model: each watcher hears what it asked for, whatever happens around it") {
  uint64_t events = 0, compacted = 0, progress = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    Story story(seed);
    story.run(900);
    events += story.events_checked();
    compacted += story.compacted();
    progress += story.progress();
  }
  // The stories are about something.
  CHECK(events > 10'000);
  CHECK(compacted > 100);
  CHECK(progress > 1'000);
}
