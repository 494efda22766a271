// The checkers themselves: good histories pass, and each kind of lie is found.
#include <doctest/doctest.h>

#include <functional>

#include "sim/checkers.h"

namespace {

using sim::Change;
using sim::LeaseRecord;
using sim::Operation;
using sim::Oracle;
using sim::WatchRecord;
using namespace std::chrono_literals;

base::Instant at(int ms) { return base::Instant(std::chrono::milliseconds(ms)); }

Change put(const std::string& key, const std::string& value, int64_t create, int64_t mod, int64_t version) {
  return {false, {key, value, create, mod, version, 0}};
}

Change erase(const std::string& key, int64_t mod) {
  Change change{true, {}};
  change.pair.key = key;
  change.pair.mod_revision = mod;
  return change;
}

// 2: a=v1   3: b=v2   4: a=v3   5: a deleted   6: a=v4, b=v5
Oracle five() {
  Oracle oracle;
  CHECK(oracle.record(2, {put("a", "v1", 2, 2, 1)}, at(20)) == "");
  CHECK(oracle.record(3, {put("b", "v2", 3, 3, 1)}, at(30)) == "");
  CHECK(oracle.record(4, {put("a", "v3", 2, 4, 2)}, at(40)) == "");
  CHECK(oracle.record(5, {erase("a", 5)}, at(50)) == "");
  CHECK(oracle.record(6, {put("a", "v4", 6, 6, 1), put("b", "v5", 3, 6, 2)}, at(60)) == "");
  return oracle;
}

Operation put_of(const std::string& key, const std::string& value, int64_t revision, int call, int end) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  Operation operation;
  operation.op = wire::Op::kPut;
  operation.request = request.SerializeAsString();
  operation.call = at(call);
  operation.end = at(end);
  operation.outcome = Operation::kOk;
  operation.revision = revision;
  return operation;
}

Operation read_of(const std::string& key, const std::vector<sim::Pair>& pairs, int64_t revision, int call, int end) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  etcdserverpb::RangeResponse response;
  for (const sim::Pair& pair : pairs) {
    mvccpb::KeyValue* kv = response.add_kvs();
    kv->set_key(pair.key);
    kv->set_value(pair.value);
    kv->set_create_revision(pair.create_revision);
    kv->set_mod_revision(pair.mod_revision);
    kv->set_version(pair.version);
  }
  response.set_count(response.kvs_size());
  Operation operation;
  operation.op = wire::Op::kRange;
  operation.request = request.SerializeAsString();
  operation.response = response.SerializeAsString();
  operation.call = at(call);
  operation.end = at(end);
  operation.outcome = Operation::kOk;
  operation.revision = revision;
  return operation;
}

std::vector<Operation> honest() {
  return {put_of("a", "v1", 2, 10, 25), put_of("b", "v2", 3, 22, 35), put_of("a", "v3", 4, 36, 45),
          read_of("a", {{"a", "v3", 2, 4, 2, 0}}, 4, 46, 48), read_of("a", {}, 5, 51, 55)};
}

}  // namespace

TEST_CASE("oracle: what members apply must follow and be the same") {
  struct Row {
    const char* rule;
    int64_t revision;
    std::vector<Change> changes;
    bool good;
  };
  const Row rows[] = {
      {"the next revision", 7, {put("c", "v6", 7, 7, 1)}, true},
      {"again, the same", 4, {put("a", "v3", 2, 4, 2)}, true},
      {"again, another value", 4, {put("a", "vX", 2, 4, 2)}, false},
      {"again, less of it", 6, {put("a", "v4", 6, 6, 1)}, false},
      {"a gap", 8, {put("c", "v6", 8, 8, 1)}, false},
      {"a wrong version", 7, {put("b", "v6", 3, 7, 2)}, false},
      {"a wrong create revision", 7, {put("b", "v6", 7, 7, 3)}, false},
      {"a delete of what is not there", 7, {erase("zzz", 7)}, false},
      {"a write that happened before", 7, {put("c", "v3", 7, 7, 1)}, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    Oracle oracle = five();
    CHECK(oracle.record(row.revision, row.changes, at(70)).empty() == row.good);
  }
}

TEST_CASE("operations: each lie is found") {
  struct Row {
    const char* rule;
    std::function<void(std::vector<Operation>&)> lie;
    const char* found;  // "": it is none
  };
  const Row rows[] = {
      {"the truth", [](auto&) {}, ""},
      {"an old value", [](auto& h) { h[3] = read_of("a", {{"a", "v1", 2, 2, 1, 0}}, 4, 46, 48); }, "must be"},
      {"a stale read", [](auto& h) { h[3] = read_of("a", {{"a", "v1", 2, 2, 1, 0}}, 3, 46, 48); }, "began after"},
      {"a stale read that said so",
       [](auto& h) {
         h[3] = read_of("a", {{"a", "v1", 2, 2, 1, 0}}, 3, 46, 48);
         h[3].linearizable = false;
       },
       ""},
      {"a read of the future", [](auto& h) { h[3] = read_of("a", {}, 5, 41, 43); }, "before its revision was"},
      {"an acknowledged write that is not there", [](auto& h) { h.push_back(put_of("c", "v9", 6, 55, 65)); }, "not in the log"},
      {"a write at the revision of another", [](auto& h) { h[1].revision = 4; }, "not in the log"},
      {"two for one write", [](auto& h) { h.push_back(put_of("a", "v3", 4, 36, 45)); }, "two writes"},
      {"writes against real time", [](auto& h) { h[0] = put_of("a", "v1", 2, 46, 49); }, "began after"},
      {"a refused write that happened", [](auto& h) { h[2].outcome = Operation::kRefused; }, "was refused, and happened"},
      {"an unknown write that happened", [](auto& h) { h[2].outcome = Operation::kUnknown; }, ""},
      {"an unknown write that happened before it was asked for",
       [](auto& h) {
         h[2].outcome = Operation::kUnknown;
         h[2].call = at(41);
       },
       "before it was asked for"},
      {"a revision that never was", [](auto& h) { h[4].revision = 60; }, "never was"},
      {"a read backwards in time", [](auto& h) { h.push_back(read_of("a", {{"a", "v3", 2, 4, 2, 0}}, 4, 56, 58)); },
       "began after"},
  };
  const Oracle oracle = five();
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    std::vector<Operation> history = honest();
    row.lie(history);
    const std::string wrong = sim::check_operations(oracle, history);
    CAPTURE(wrong);
    const std::string found = row.found;
    CHECK(wrong.empty() == found.empty());
    CHECK(wrong.find(found) != std::string::npos);
  }
}

namespace {

mvccpb::Event event_of(const Change& change) {
  mvccpb::Event event;
  event.set_type(change.is_delete ? mvccpb::Event::DELETE : mvccpb::Event::PUT);
  event.mutable_kv()->set_key(change.pair.key);
  event.mutable_kv()->set_mod_revision(change.pair.mod_revision);
  if (change.is_delete) return event;
  event.mutable_kv()->set_value(change.pair.value);
  event.mutable_kv()->set_create_revision(change.pair.create_revision);
  event.mutable_kv()->set_version(change.pair.version);
  return event;
}

WatchRecord::Response response_of(const Oracle& oracle, std::vector<int64_t> revisions, bool with_b) {
  WatchRecord::Response response;
  for (const int64_t revision : revisions) {
    for (const Change& change : oracle.at(revision)->changes) {
      if (change.pair.key == "a" || with_b) response.events.push_back(event_of(change));
    }
    response.revision = revision;
  }
  return response;
}

// All keys from 2 on: one response a revision, then progress.
WatchRecord honest_watch(const Oracle& oracle) {
  WatchRecord watch;
  watch.request.set_key("a");
  watch.request.set_range_end("c");
  watch.request.set_start_revision(2);
  watch.created_at = 1;
  for (int64_t revision = 2; revision <= 6; ++revision) watch.responses.push_back(response_of(oracle, {revision}, true));
  WatchRecord::Response progress;
  progress.revision = 6;
  watch.responses.push_back(progress);
  return watch;
}

}  // namespace

TEST_CASE("watches: each broken promise is found") {
  struct Row {
    const char* promise;
    std::function<void(WatchRecord&, const Oracle&)> breach;
    const char* found;
    int64_t compacted = 0;
  };
  const auto prev = [](WatchRecord& w, const Oracle& oracle) {  // with what was before, where there was something
    w.request.set_prev_kv(true);
    for (auto& response : w.responses) {
      for (auto& event : response.events) {
        const auto before = oracle.model().get(event.kv().key(), event.kv().mod_revision() - 1);
        if (!before) continue;
        event.mutable_prev_kv()->set_key(before->key);
        event.mutable_prev_kv()->set_value(before->value);
        event.mutable_prev_kv()->set_create_revision(before->create_revision);
        event.mutable_prev_kv()->set_mod_revision(before->mod_revision);
        event.mutable_prev_kv()->set_version(before->version);
      }
    }
  };
  const Row rows[] = {
      {"all kept", [](auto&, const auto&) {}, ""},
      {"prev-kv kept", prev, ""},
      {"several revisions in one response",
       [](auto& w, const auto& oracle) {
         w.responses.resize(1);
         w.responses.push_back(response_of(oracle, {3, 4, 5, 6}, true));
       },
       ""},
      {"filter: a key that was not asked for", [](auto& w, const auto&) { w.request.set_range_end(""); }, "filter"},
      {"filter: a kind that was not wanted",
       [](auto& w, const auto&) { w.request.add_filters(etcdserverpb::WatchCreateRequest::NODELETE); }, "filter"},
      {"ordered", [](auto& w, const auto&) { std::swap(w.responses[1], w.responses[2]); }, "reliable"},
      {"unique", [](auto& w, const auto&) { w.responses.insert(w.responses.begin() + 2, w.responses[1]); }, "unique"},
      {"atomic: a part", [](auto& w, const auto&) { w.responses[4].events.pop_back(); }, "atomic"},
      {"atomic: in two responses",
       [](auto& w, const auto&) {
         auto second = w.responses[4];
         w.responses[4].events.pop_back();
         second.events.erase(second.events.begin());
         w.responses.insert(w.responses.begin() + 5, second);
       },
       "atomic"},
      {"bookmarkable: progress before an event", [](auto& w, const auto&) { std::swap(w.responses[4], w.responses[5]); },
       "bookmarkable"},
      {"resumable: begins later than asked for", [](auto& w, const auto&) { w.responses.erase(w.responses.begin()); },
       "reliable"},
      {"resumable: begins earlier than asked for", [](auto& w, const auto&) { w.request.set_start_revision(3); }, "ordered"},
      {"reliable: a gap", [](auto& w, const auto&) { w.responses.erase(w.responses.begin() + 2); }, "reliable"},
      {"reliable: the last is missing", [](auto& w, const auto&) { w.responses.resize(4); }, "at the end"},
      {"prev-kv: not there", [](auto& w, const auto&) { w.request.set_prev_kv(true); }, "prev-kv"},
      {"prev-kv: compacted", [](auto& w, const auto&) { w.request.set_prev_kv(true); }, "", 6},
      {"prev-kv: another",
       [&](auto& w, const auto& oracle) {
         prev(w, oracle);
         w.responses[2].events[0].mutable_prev_kv()->set_value("vX");
       },
       "prev-kv"},
      {"prev-kv: not asked for",
       [&](auto& w, const auto& oracle) {
         prev(w, oracle);
         w.request.set_prev_kv(false);
       },
       "prev-kv"},
      {"is-create: a change that looks like a creation",
       [](auto& w, const auto&) { w.responses[2].events[0].mutable_kv()->set_create_revision(4); }, "at revision 4"},
      {"another value", [](auto& w, const auto&) { w.responses[0].events[0].mutable_kv()->set_value("v7"); }, "at revision 2"},
      {"an event that never was",
       [](auto& w, const auto&) {
         w.responses[4].events[0].mutable_kv()->set_mod_revision(9);
         w.responses[4].events.pop_back();
       },
       "reliable"},
      {"canceled without need",
       [](auto& w, const auto&) {
         w.responses.resize(3);
         w.responses[2] = {};
         w.responses[2].canceled = true;
         w.responses[2].compact_revision = 3;
       },
       "canceled", 3},
      {"canceled with need",
       [](auto& w, const auto&) {
         w.responses.resize(1);
         w.responses[0] = {};
         w.responses[0].canceled = true;
         w.responses[0].compact_revision = 4;
       },
       "", 4},
  };
  const Oracle oracle = five();
  for (const Row& row : rows) {
    CAPTURE(row.promise);
    WatchRecord watch = honest_watch(oracle);
    row.breach(watch, oracle);
    const std::string wrong = sim::check_watch(oracle, watch, row.compacted, 6);
    CAPTURE(wrong);
    const std::string found = row.found;
    CHECK(wrong.empty() == found.empty());
    CHECK(wrong.find(found) != std::string::npos);
  }
}

TEST_CASE("leases: an early end is found") {
  const auto verdict = [](int ended_ms, bool revoked) {
    Oracle oracle;
    CHECK(oracle.record(2, {put("l", "v1", 2, 2, 1)}, at(1000)) == "");
    CHECK(oracle.record(3, {erase("l", 3)}, at(ended_ms)) == "");
    LeaseRecord lease;
    lease.id = 1;
    lease.ttl_s = 10;
    lease.key = "l";
    lease.granted = at(900);
    lease.renewed = at(5000);
    lease.revoked = revoked;
    return sim::check_lease(oracle, lease, 0.01, 100ms);
  };
  CHECK(verdict(15001, false) == "");
  CHECK(verdict(14850, false) == "");  // a clock that runs fast, a renewal that was late
  CHECK(verdict(14700, false).find("early") != std::string::npos);
  CHECK(verdict(11000, false).find("early") != std::string::npos);
  CHECK(verdict(11000, true) == "");

  Oracle oracle;
  CHECK(oracle.record(2, {put("l", "v1", 2, 2, 1)}, at(1000)) == "");
  CHECK(oracle.record(3, {put("l", "v2", 2, 3, 2)}, at(2000)) == "");
  LeaseRecord lease;
  lease.key = "l";
  lease.key_lost = true;
  lease.let_go = 3;
  CHECK(sim::check_lease(oracle, lease, 0.01, 100ms) == "");
  CHECK(oracle.record(4, {erase("l", 4)}, at(60000)) == "");
  CHECK(sim::check_lease(oracle, lease, 0.01, 100ms).find("written again without it") != std::string::npos);
}
