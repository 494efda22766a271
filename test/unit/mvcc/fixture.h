// A store over a memory engine, and requests as generated messages, for the tests of this folder.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "mvcc/compaction_task.h"
#include "mvcc/hash_task.h"
#include "mvcc/request.h"
#include "mvcc/store.h"
#include "rpc.pb.h"
#include "storage/backend.h"
#include "storage/keyspace.h"
#include "storage/memory_engine.h"

namespace mvcc_test {

using base::Code;
using base::LeaseId;
using base::Result;
using base::Status;

// Reads an answer's fields into its message, with the header's revision put where the server puts the header.
template <class Response>
Response parse_reply(const mvcc::Reply& reply) {
  Response response;
  REQUIRE(response.ParseFromString(reply.fields));
  response.mutable_header()->set_revision(reply.revision);
  return response;
}

class Fixture {
 public:
  explicit Fixture(mvcc::LeaseHooks* leases = nullptr, mvcc::Observer* observer = nullptr, mvcc::Options options = {})
      : leases_(leases), observer_(observer), options_(options) {
    backend = std::make_unique<storage::Backend>(engine);
    open();
  }

  void open() {
    store = std::make_unique<mvcc::Store>(*backend, options_);
    store->set_leases(leases_);
    store->set_observer(observer_);
    const Status status = store->recover();
    REQUIRE_MESSAGE(status.ok(), status.to_string());
  }
  // As after a stop: everything comes from rows.
  void reopen() {
    store.reset();
    REQUIRE(backend->commit_now().ok());
    backend = std::make_unique<storage::Backend>(engine);
    open();
  }

  int64_t put(std::string_view key, std::string_view value, int64_t lease = 0) {
    mvcc::Store::WriteTxn write(*store);
    write.put(key, value, LeaseId(lease));
    write.commit();
    return store->current_revision();
  }
  int64_t erase(std::string_view key, std::string_view range_end = {}) {
    mvcc::Store::WriteTxn write(*store);
    const int64_t deleted = write.delete_range(key, range_end);
    write.commit();
    return deleted;
  }
  void compact(int64_t revision) {
    const Status status = store->compact(revision);
    REQUIRE_MESSAGE(status.ok(), status.to_string());
    run_compactions();
  }
  void run_compactions() {
    while (auto task = store->next_compaction()) run(*task);
  }
  static void run(mvcc::Task& task) {
    for (;;) {
      if (task.wants_read()) task.read();
      if (task.step()) return;
    }
  }
  Result<mvcc::KeyHash> hash(int64_t revision) {
    mvcc::HashTask task(*store, revision);
    run(task);
    if (!task.status().ok()) return task.status();
    return task.result();
  }

  Result<etcdserverpb::RangeResponse> range(const etcdserverpb::RangeRequest& request) {
    Result<mvcc::Reply> reply = mvcc::execute_read(*store, wire::Op::kRange, request.SerializeAsString());
    if (!reply.ok()) return reply.status();
    return parse_reply<etcdserverpb::RangeResponse>(*reply);
  }
  template <class Response, class Request>
  Result<Response> execute(wire::Op op, const Request& request, mvcc::Answer answer = mvcc::Answer::kWanted) {
    Result<mvcc::Reply> reply = mvcc::execute(*store, op, request.SerializeAsString(), answer);
    if (!reply.ok()) return reply.status();
    return parse_reply<Response>(*reply);
  }
  // Rows of bucket `key`: "main/sub[t] hex of the value".
  std::vector<std::string> rows() const {
    std::vector<std::string> out;
    const Status status =
        storage::for_each_row(*backend, storage::Bucket::kKey, [&](std::string_view key, std::string_view value) {
          const auto parsed = mvcc::parse_row_key(storage::row_key(storage::Bucket::kKey, key));
          REQUIRE(parsed.has_value());
          out.push_back(std::to_string(parsed->revision.main) + "/" + std::to_string(parsed->revision.sub) +
                        (parsed->tombstone ? "t " : " ") + base::hex_bytes(value));
        });
    REQUIRE(status.ok());
    return out;
  }

  storage::MemoryEngine engine;
  std::unique_ptr<storage::Backend> backend;
  std::unique_ptr<mvcc::Store> store;

 private:
  mvcc::LeaseHooks* leases_;
  mvcc::Observer* observer_;
  mvcc::Options options_;
};

// Leases that exist because a test says so.
class FakeLeases final : public mvcc::LeaseHooks {
 public:
  bool exists(LeaseId id) const override { return keys.contains(id.value()); }
  void attach(LeaseId id, std::string_view key) override { CHECK(keys[id.value()].insert(std::string(key)).second); }
  void detach(LeaseId id, std::string_view key) override { CHECK(keys[id.value()].erase(std::string(key)) == 1); }
  std::map<int64_t, std::set<std::string>> keys;
};

}  // namespace mvcc_test
