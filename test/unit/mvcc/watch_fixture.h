// A store with a hub, and sinks that keep what they get, for the tests of watches.
#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "mvcc/watch_catch_up.h"
#include "mvcc/watch_hub.h"
#include "rpc.pb.h"
#include "unit/mvcc/fixture.h"

namespace mvcc_test {

inline mvcc::WatchRequest watch_of(std::string_view key, std::string_view range_end = {}, int64_t start_revision = 0) {
  mvcc::WatchRequest request;
  request.range = {key, range_end};
  request.start_revision = start_revision;
  return request;
}

// Holds `room` responses, then it is full.
class Sink final : public mvcc::WatchSink {
 public:
  struct Response {
    int64_t watch_id;
    int64_t revision = 0;
    std::vector<mvccpb::Event> events;
    mvcc::WatchBody body;
    bool progress = false;
    int64_t compact_revision = 0;
    bool created = false;  // put in by a test
  };

  explicit Sink(size_t room = SIZE_MAX) : room_(room) {}
  bool full() const override { return queue.size() >= room_; }
  void events(const mvcc::WatchEvents& in) override {
    CHECK_FALSE(full());
    etcdserverpb::WatchResponse parsed;
    REQUIRE(parsed.ParseFromString(*in.body));
    REQUIRE(static_cast<size_t>(parsed.events_size()) == in.count);
    queue.push_back({in.watch_id, in.revision, {parsed.events().begin(), parsed.events().end()}, in.body});
  }
  void progress(int64_t watch_id, int64_t revision) override { queue.push_back({watch_id, revision, {}, nullptr, true}); }
  void compacted(int64_t watch_id, int64_t revision) override { queue.push_back({watch_id, 0, {}, nullptr, false, revision}); }
  // "id@revision: PUT key=value/mod(prev) ..." of each response, and forgets them.
  std::vector<std::string> take() {
    std::vector<std::string> out;
    for (const Response& response : queue) {
      std::string text = std::to_string(response.watch_id) + "@" + std::to_string(response.revision);
      if (response.progress) text += " progress";
      if (response.compact_revision > 0) text += " compacted " + std::to_string(response.compact_revision);
      for (const mvccpb::Event& event : response.events) {
        text += event.type() == mvccpb::Event::DELETE ? " DEL " : " PUT ";
        text += event.kv().key() + "=" + event.kv().value() + "/" + std::to_string(event.kv().mod_revision());
        if (event.has_prev_kv()) text += "(" + event.prev_kv().value() + ")";
      }
      out.push_back(text);
    }
    queue.clear();
    return out;
  }

  std::deque<Response> queue;

 private:
  const size_t room_;
};

// The hub needs the store, and the store its observer.
class Forward final : public mvcc::Observer {
 public:
  void on_commit(int64_t main, std::span<const mvcc::Event> events) override {
    if (hub != nullptr) hub->on_commit(main, events);
  }
  void on_compact(int64_t revision) override {
    if (hub != nullptr) hub->on_compact(revision);
  }
  mvcc::WatchHub* hub = nullptr;
};

class WatchFixture {
 public:
  explicit WatchFixture(mvcc::WatchLimits limits = {}, mvcc::Options options = {})
      : db(nullptr, &forward, options), hub(*db.store, 1, limits) {
    forward.hub = &hub;
  }
  ~WatchFixture() {
    catch_up.reset();
    forward.hub = nullptr;
  }
  // One piece of the background's work. False: there is none.
  bool step() {
    if (catch_up == nullptr) {
      if (!hub.has_work()) return false;
      catch_up = hub.work();
      return true;
    }
    if (catch_up->wants_read()) catch_up->read();
    if (!catch_up->step()) return true;
    CHECK(catch_up->status().ok());
    catch_up.reset();
    return true;
  }
  void run() {
    while (step()) {
    }
  }
  int64_t watch(mvcc::WatchStream* stream, const mvcc::WatchRequest& request) {
    const Result<int64_t> id = hub.watch(stream, request);
    REQUIRE_MESSAGE(id.ok(), id.status().to_string());
    return *id;
  }

  Forward forward;
  Fixture db;
  mvcc::WatchHub hub;
  std::unique_ptr<mvcc::WatchCatchUp> catch_up;
};

}  // namespace mvcc_test
