// Writes to a member that is killed under it, and remembers what was acknowledged, so that it can be checked afterwards.
//
//   crash_client URL SEED [WORKERS]      commands on stdin, one answer line each on stdout:
//     load N     many workers write at once; "acked N" as soon as N writes are acknowledged, then "stopped A acked, U unknown"
//                when the server is gone. The caller kills it in between.
//     verify     every acknowledged write is there, with its revision, value and history; "verified ..." or "LOST ..."
//     compact    compacts at a random acknowledged revision, waiting for the physical part; "compacted R"
//
// A worker owns one key and has one request in flight, so after a kill its key holds what was acknowledged last, or what was
// asked for after it and never answered: nothing else. Exit code 1 after the first line that starts with LOST.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "e2e/blocking_client.h"
#include "rpc.pb.h"

namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr char kRangePath[] = "/etcdserverpb.KV/Range";
constexpr char kPutPath[] = "/etcdserverpb.KV/Put";
constexpr char kDeletePath[] = "/etcdserverpb.KV/DeleteRange";
constexpr char kTxnPath[] = "/etcdserverpb.KV/Txn";
constexpr char kCompactPath[] = "/etcdserverpb.KV/Compact";
constexpr char kHashKvPath[] = "/etcdserverpb.Maintenance/HashKV";

constexpr size_t kHistoryMax = 2000;       // acknowledged writes whose old revision is read again
constexpr size_t kHistorySample = 200;     // ... so many of them at each verify
constexpr uint64_t kValueBytesMax = 2000;  // padding of a value

enum class Kind { kNone, kPut, kDelete, kTxn };

// One write: what the key holds afterwards, and since which revision (0: not known, or a delete of nothing).
struct Write {
  Kind kind = Kind::kNone;
  uint64_t number = 0;
  int64_t revision = 0;

  bool leaves_value() const { return kind == Kind::kPut || kind == Kind::kTxn; }
};

struct Worker {
  std::string key;
  Write acknowledged;
  Write unknown;  // kNone: nothing in flight when the server went
  uint64_t next_number = 1;
  int64_t revision_at_send = 0;  // the greatest revision anybody was told before this request left
};

struct OldValue {
  size_t worker;
  Write write;
};

[[noreturn]] void lost(const std::string& what) {
  printf("LOST %s\n", what.c_str());
  fflush(stdout);
  exit(1);
}

class Crash {
 public:
  Crash(std::string url, uint64_t seed, size_t workers) : url_(std::move(url)), rng_(seed), workers_(workers) {
    for (size_t i = 0; i < workers; ++i) workers_[i].key = "crash/" + std::to_string(i);
  }

  void load(uint64_t acks_wanted) {
    client_ = std::make_unique<BlockingClient>(url_);
    acks_ = 0;
    acks_wanted_ = acks_wanted;
    running_ = workers_.size();
    for (size_t i = 0; i < workers_.size(); ++i) send_next(i);
    while (running_ > 0) {
      client_->loop().restart();
      client_->loop().run_one();
    }
    client_.reset();
    size_t unknown = 0;
    for (const Worker& worker : workers_) unknown += worker.unknown.kind != Kind::kNone;
    printf("stopped %" PRIu64 " acked, %zu unknown\n", acks_, unknown);
  }

  void verify() {
    BlockingClient client(url_);
    int64_t revision = 0;
    for (Worker& worker : workers_) revision = verify_key(client, worker);
    if (revision < newest_) lost("the store is at revision " + std::to_string(revision) + " of " + std::to_string(newest_));
    const size_t old_values = verify_history(client);
    verify_hash(client);
    newest_ = revision;
    printf("verified %zu keys, %zu old values, revision %" PRId64 ", hash %u\n", workers_.size(), old_values, revision, hash_);
  }

  void compact() {
    BlockingClient client(url_);
    if (history_.empty()) lost("nothing to compact");
    etcdserverpb::CompactionRequest request;
    request.set_revision(history_[rng_.below(history_.size())].write.revision);
    request.set_physical(true);
    if (request.revision() > compacted_) {
      auto done = client.call<etcdserverpb::CompactionResponse>(kCompactPath, request);
      if (!done.ok()) lost("compaction refused: " + done.status().to_string());
      compacted_ = request.revision();
    }
    printf("compacted %" PRId64 "\n", compacted_);
  }

 private:
  std::string value_of(const Worker& worker, uint64_t number) const {
    std::string value = worker.key + "=" + std::to_string(number) + ":";
    base::Rng padding(number * 1000003 + static_cast<uint64_t>(&worker - workers_.data()));
    value.append(padding.below(kValueBytesMax), static_cast<char>('a' + padding.below(26)));
    return value;
  }

  // --- load
  void send_next(size_t index) {
    Worker& worker = workers_[index];
    const uint64_t choice = rng_.below(10);
    worker.unknown = Write{choice < 7 ? Kind::kPut : choice < 9 ? Kind::kTxn : Kind::kDelete, worker.next_number++, 0};
    worker.revision_at_send = newest_;
    const auto [path, request] = request_for(worker);
    client_->channel().unary(path, request, rpc::CallOptions(),
                             [this, index](Result<std::string> answer) { answered(index, std::move(answer)); });
  }

  std::pair<const char*, std::string> request_for(const Worker& worker) const {
    const Write& write = worker.unknown;
    if (write.kind == Kind::kDelete) {
      etcdserverpb::DeleteRangeRequest request;
      request.set_key(worker.key);
      return {kDeletePath, request.SerializeAsString()};
    }
    etcdserverpb::PutRequest put;
    put.set_key(worker.key);
    put.set_value(value_of(worker, write.number));
    if (write.kind == Kind::kPut) return {kPutPath, put.SerializeAsString()};
    // The comparison always holds, since nobody else writes this key; the branch not taken would be seen as a loss.
    etcdserverpb::TxnRequest txn;
    etcdserverpb::Compare* compare = txn.add_compare();
    compare->set_key(worker.key);
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_result(etcdserverpb::Compare::EQUAL);
    compare->set_mod_revision(worker.acknowledged.leaves_value() ? worker.acknowledged.revision : 0);
    *txn.add_success()->mutable_request_put() = std::move(put);
    return {kTxnPath, txn.SerializeAsString()};
  }

  void answered(size_t index, Result<std::string> answer) {
    Worker& worker = workers_[index];
    if (!answer.ok()) {
      if (answer.status().code() != Code::kUnavailable) lost(worker.key + ": " + answer.status().to_string());
      --running_;  // The server is gone; `unknown` stays.
      return;
    }
    Write write = worker.unknown;
    write.revision = revision_in(worker, write, answer.value());
    const bool changed = write.leaves_value() || worker.acknowledged.leaves_value();
    if (write.revision < worker.revision_at_send || (changed && write.revision == worker.revision_at_send)) {
      lost(worker.key + " was written at revision " + std::to_string(write.revision) + ", asked for after " +
           std::to_string(worker.revision_at_send) + " was told");
    }
    newest_ = std::max(newest_, write.revision);
    worker.acknowledged = write;
    worker.unknown = Write{};
    if (write.leaves_value()) remember(index, write);
    if (++acks_ == acks_wanted_) {
      printf("acked %" PRIu64 "\n", acks_);
      fflush(stdout);
    }
    send_next(index);
  }

  int64_t revision_in(const Worker& worker, const Write& write, const std::string& answer) const {
    etcdserverpb::PutResponse put;
    etcdserverpb::DeleteRangeResponse deleted;
    etcdserverpb::TxnResponse txn;
    switch (write.kind) {
      case Kind::kPut:
        if (put.ParseFromString(answer)) return put.header().revision();
        break;
      case Kind::kDelete:
        if (!deleted.ParseFromString(answer)) break;
        if (deleted.deleted() != worker.acknowledged.leaves_value()) lost(worker.key + ": wrong count of deleted keys");
        return deleted.header().revision();
      case Kind::kTxn:
        if (!txn.ParseFromString(answer)) break;
        if (!txn.succeeded()) lost(worker.key + ": the key was not as it was acknowledged");
        return txn.header().revision();
      case Kind::kNone: break;
    }
    lost(worker.key + ": an answer of the wrong type");
  }

  void remember(size_t index, const Write& write) {
    if (history_.size() == kHistoryMax) history_.erase(history_.begin() + static_cast<ptrdiff_t>(rng_.below(kHistoryMax)));
    history_.push_back(OldValue{index, write});
  }

  // --- verify
  etcdserverpb::RangeResponse range(BlockingClient& client, const std::string& key, int64_t revision) {
    etcdserverpb::RangeRequest request;
    request.set_key(key);
    request.set_revision(revision);
    auto answer = client.call<etcdserverpb::RangeResponse>(kRangePath, request);
    if (!answer.ok()) lost("reading " + key + ": " + answer.status().to_string());
    return std::move(*answer);
  }

  // Returns the store's revision.
  int64_t verify_key(BlockingClient& client, Worker& worker) {
    const etcdserverpb::RangeResponse found = range(client, worker.key, 0);
    const bool as_acknowledged = holds(worker, worker.acknowledged, found);
    if (!as_acknowledged && (worker.unknown.kind == Kind::kNone || !holds(worker, worker.unknown, found))) {
      lost(worker.key + ": acknowledged write " + std::to_string(worker.acknowledged.number) + " at revision " +
           std::to_string(worker.acknowledged.revision) + ", in flight " + std::to_string(worker.unknown.number) + ", found " +
           (found.kvs_size() ? found.kvs(0).value().substr(0, 40) + " at " + std::to_string(found.kvs(0).mod_revision())
                             : std::string("nothing")));
    }
    if (!as_acknowledged) {
      worker.acknowledged = worker.unknown;
      worker.acknowledged.revision = found.kvs_size() ? found.kvs(0).mod_revision() : found.header().revision();
    }
    worker.unknown = Write{};
    return found.header().revision();
  }

  // Whether `found` is what `write` leaves behind.
  bool holds(const Worker& worker, const Write& write, const etcdserverpb::RangeResponse& found) const {
    if (!write.leaves_value()) return found.kvs_size() == 0;
    return found.kvs_size() == 1 && found.kvs(0).value() == value_of(worker, write.number) &&
           (write.revision == 0 || found.kvs(0).mod_revision() == write.revision);
  }

  size_t verify_history(BlockingClient& client) {
    size_t read = 0;
    for (size_t i = 0; i < std::min(kHistorySample, history_.size()); ++i) {
      const OldValue& old = history_[rng_.below(history_.size())];
      if (old.write.revision < compacted_) continue;
      const Worker& worker = workers_[old.worker];
      if (!holds(worker, old.write, range(client, worker.key, old.write.revision))) {
        lost(worker.key + ": revision " + std::to_string(old.write.revision) + " reads differently now");
      }
      ++read;
    }
    return read;
  }

  // The hash at the revision of the last verify, before the kill, must be the same after the replay.
  void verify_hash(BlockingClient& client) {
    if (hash_revision_ > compacted_) {
      const etcdserverpb::HashKVResponse again = hash_at(client, hash_revision_);
      if (again.compact_revision() == hash_compacted_ && again.hash() != hash_) {
        lost("the hash at revision " + std::to_string(hash_revision_) + " was " + std::to_string(hash_) + ", is " +
             std::to_string(again.hash()));
      }
    }
    const etcdserverpb::HashKVResponse now = hash_at(client, 0);
    hash_ = now.hash();
    hash_revision_ = now.hash_revision();
    hash_compacted_ = now.compact_revision();
  }

  etcdserverpb::HashKVResponse hash_at(BlockingClient& client, int64_t revision) {
    etcdserverpb::HashKVRequest request;
    request.set_revision(revision);
    auto answer = client.call<etcdserverpb::HashKVResponse>(kHashKvPath, request);
    if (!answer.ok()) lost("hash at " + std::to_string(revision) + ": " + answer.status().to_string());
    return std::move(*answer);
  }

  std::string url_;
  base::Rng rng_;
  std::vector<Worker> workers_;
  std::vector<OldValue> history_;
  std::unique_ptr<BlockingClient> client_;
  uint64_t acks_ = 0, acks_wanted_ = 0;
  size_t running_ = 0;
  int64_t newest_ = 0;     // the greatest revision the server told
  int64_t compacted_ = 0;  // the greatest revision compacted
  uint32_t hash_ = 0;
  int64_t hash_revision_ = 0, hash_compacted_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: crash_client URL SEED [WORKERS]\n");
    return 2;
  }
  Crash crash(argv[1], strtoull(argv[2], nullptr, 10), argc > 3 ? strtoull(argv[3], nullptr, 10) : 64);
  std::string command;
  while (std::cin >> command) {
    uint64_t count = 0;
    if (command == "load" && std::cin >> count) {
      crash.load(count);
    } else if (command == "verify") {
      crash.verify();
    } else if (command == "compact") {
      crash.compact();
    } else {
      fprintf(stderr, "unknown command: %s\n", command.c_str());
      return 2;
    }
    fflush(stdout);
  }
}
