// Determinism of applying: the same entries on two members that differ in everything that must not matter give the same errors,
// revisions, rows and hashes. One keeps hot values, reads every answer and compacts at once; the other keeps none, reads
// nothing, compacts late and is restarted in between. The input is a program: a byte says what comes, the next ones fill the
// request.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "mvcc/compaction_task.h"
#include "mvcc/hash_task.h"
#include "mvcc/request.h"
#include "mvcc/store.h"
#include "rpc.pb.h"
#include "storage/backend.h"
#include "storage/keyspace.h"
#include "storage/memory_engine.h"

namespace {

constexpr int kEntriesMax = 200;
constexpr int kDepthMax = 4;
constexpr int kOpsMax = 6;

void require(bool condition) {
  if (!condition) std::abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t byte() { return empty() ? 0 : *at_++; }
  std::string raw() {
    const size_t wanted = byte();
    const size_t size = std::min(wanted, static_cast<size_t>(end_ - at_));
    std::string bytes(reinterpret_cast<const char*>(at_), size);
    at_ += size;
    return bytes;
  }
  std::string key() {
    const uint8_t b = byte();
    if (b % 16 == 15) return raw();
    std::string key(1, "ab\0c"[b % 4]);
    if (b & 4) key += "xy"[b >> 3 & 1];
    return key;
  }
  std::string range_end() {
    const uint8_t b = byte();
    if (b % 4 == 0) return "";
    if (b % 4 == 1) return std::string(1, '\0');
    return key();
  }
  int64_t number() { return static_cast<int8_t>(byte()); }

 private:
  const uint8_t* at_;
  const uint8_t* const end_;
};

void fill(Input& in, etcdserverpb::RangeRequest* r) {
  r->set_key(in.key());
  r->set_range_end(in.range_end());
  const uint8_t flags = in.byte();
  if (flags & 1) r->set_limit(in.number());
  if (flags & 2) r->set_revision(in.number());
  if (flags & 4) r->set_sort_order(static_cast<etcdserverpb::RangeRequest::SortOrder>(in.number()));
  if (flags & 8) r->set_sort_target(static_cast<etcdserverpb::RangeRequest::SortTarget>(in.number() % 8));
  r->set_keys_only(flags & 16);
  r->set_count_only(flags & 32);
  if (flags & 64) r->set_min_mod_revision(in.number());
  if (flags & 128) r->set_max_create_revision(in.number());
}
void fill(Input& in, etcdserverpb::PutRequest* r) {
  r->set_key(in.key());
  const uint8_t flags = in.byte();
  if (flags & 1) r->set_value(in.raw());
  if (flags & 2) r->set_lease(in.number());
  r->set_prev_kv(flags & 4);
  r->set_ignore_value(flags & 8);
  r->set_ignore_lease(flags & 16);
}
void fill(Input& in, etcdserverpb::DeleteRangeRequest* r) {
  r->set_key(in.key());
  r->set_range_end(in.range_end());
  r->set_prev_kv(in.byte() & 1);
}
void fill(Input& in, etcdserverpb::Compare* c) {
  c->set_key(in.key());
  if (in.byte() & 1) c->set_range_end(in.range_end());
  c->set_result(static_cast<etcdserverpb::Compare::CompareResult>(in.byte() % 5));
  c->set_target(static_cast<etcdserverpb::Compare::CompareTarget>(in.byte() % 6));
  switch (in.byte() % 6) {
    case 0:
      c->set_version(in.number());
      break;
    case 1:
      c->set_create_revision(in.number());
      break;
    case 2:
      c->set_mod_revision(in.number());
      break;
    case 3:
      c->set_value(in.raw());
      break;
    case 4:
      c->set_lease(in.number());
      break;
    default:
      break;
  }
}
void fill(Input& in, etcdserverpb::TxnRequest* r, int depth);
void fill(Input& in, etcdserverpb::RequestOp* op, int depth) {
  switch (in.byte() % 8) {
    case 0:
    case 1:
      return fill(in, op->mutable_request_range());
    case 2:
    case 3:
      return fill(in, op->mutable_request_delete_range());
    case 4:
      if (depth < kDepthMax) fill(in, op->mutable_request_txn(), depth + 1);
      return;
    default:
      return fill(in, op->mutable_request_put());
  }
}
void fill(Input& in, etcdserverpb::TxnRequest* r, int depth) {
  for (int n = in.byte() % 3; n > 0; --n) fill(in, r->add_compare());
  for (int n = in.byte() % kOpsMax; n > 0; --n) fill(in, r->add_success(), depth);
  for (int n = in.byte() % kOpsMax; n > 0; --n) fill(in, r->add_failure(), depth);
}

// Leases 1 to 9 exist.
class Leases final : public mvcc::LeaseHooks {
 public:
  bool exists(base::LeaseId id) const override { return id.value() > 0 && id.value() < 10; }
  void attach(base::LeaseId, std::string_view) override {}
  void detach(base::LeaseId, std::string_view) override {}
};

class Member {
 public:
  explicit Member(bool eager) : eager_(eager) { open(); }

  base::Result<mvcc::Reply> apply(wire::Op op, const std::string& body) {
    base::Result<mvcc::Reply> reply = mvcc::execute(*store_, op, body, eager_ ? mvcc::Answer::kWanted : mvcc::Answer::kUnread);
    if (eager_) compact();
    return reply;
  }
  void compact() {
    while (auto task = store_->next_compaction()) run(*task);
  }
  void restart() {
    store_.reset();
    require(backend_->commit_now().ok());
    open();
  }
  std::string state() {
    std::string rows = std::to_string(store_->current_revision()) + "/" + std::to_string(store_->compact_revision()) + "/" +
                       std::to_string(store_->keys());
    const base::Status read = storage::for_each_row(
        *backend_, storage::Bucket::kKey, [&rows](std::string_view key, std::string_view value) { (rows += key) += value; });
    require(read.ok());
    return rows;
  }
  bool would_keep() {
    const mvcc::KeyIndex& index = store_->index();
    for (auto at = index.begin(); at.valid(); at.next()) {
      const auto cut = at.record().cut(store_->current_revision());
      if (cut.kept && !at.record().version(*cut.kept).tombstone) return true;
    }
    return false;
  }
  // At whatever revision somebody asks for: it depends on how far compactions got, but it is an answer.
  void ask_hash(int64_t revision) {
    mvcc::HashTask task(*store_, revision);
    run(task);
    require(task.status().ok() || task.status().code() == base::Code::kOutOfRange);
  }
  uint32_t hash() {
    mvcc::HashTask task(*store_, 0);
    run(task);
    require(task.status().ok());
    return task.result().hash;
  }
  mvcc::Store& store() { return *store_; }

 private:
  void open() {
    backend_ = std::make_unique<storage::Backend>(engine_);
    mvcc::Options options;
    options.hot_bytes_max = eager_ ? 2048 : 0;
    options.compaction_batch_rows = eager_ ? 1000 : 3;
    store_ = std::make_unique<mvcc::Store>(*backend_, options);
    store_->set_leases(&leases_);
    require(store_->recover().ok());
  }
  static void run(mvcc::Task& task) {
    for (;;) {
      if (task.wants_read()) task.read();
      if (task.step()) break;
    }
  }

  const bool eager_;
  Leases leases_;
  storage::MemoryEngine engine_;
  std::unique_ptr<storage::Backend> backend_;
  std::unique_ptr<mvcc::Store> store_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Member eager(true), lazy(false);
  for (int entry = 0; entry < kEntriesMax && !in.empty(); ++entry) {
    wire::Op op = wire::Op::kPut;
    std::string body;
    etcdserverpb::PutRequest put;
    etcdserverpb::DeleteRangeRequest remove;
    etcdserverpb::TxnRequest txn;
    etcdserverpb::RangeRequest range;
    etcdserverpb::CompactionRequest compaction;
    const uint8_t what = in.byte();
    switch (what % 12) {
      case 0:
      case 1:
      case 2:
        fill(in, &put);
        body = put.SerializeAsString();
        break;
      case 3:
      case 4:
        op = wire::Op::kDeleteRange;
        fill(in, &remove);
        body = remove.SerializeAsString();
        break;
      case 5:
      case 6:
      case 7:
        op = wire::Op::kTxn;
        fill(in, &txn, 0);
        body = txn.SerializeAsString();
        break;
      case 8:
        op = wire::Op::kRange;
        fill(in, &range);
        body = range.SerializeAsString();
        break;
      case 9:
        op = wire::Op::kCompaction;
        compaction.set_revision(in.number());
        body = compaction.SerializeAsString();
        break;
      case 10:
        op = what & 16 ? wire::Op::kTxn : wire::Op::kPut;
        body = in.raw();
        break;  // as it comes
      default:
        lazy.restart();
        continue;
    }
    // Whatever the checks before the log say, an entry may hold it; they must only not fall over it.
    (void)mvcc::check_request(op, body, 128);
    (void)mvcc::request_cost(op, body);
    const base::Result<mvcc::Reply> a = eager.apply(op, body);
    const base::Result<mvcc::Reply> b = lazy.apply(op, body);
    require(a.status() == b.status());
    if (a.ok()) require(a->revision == b->revision);
    require(eager.store().current_revision() == lazy.store().current_revision());
    if (what & 128) eager.ask_hash(in.number());
  }
  // If a compaction now would keep no put, what is hashed depends on how far compactions got: in etcd too.
  if (eager.would_keep()) require(eager.hash() == lazy.hash());
  lazy.compact();
  require(eager.state() == lazy.state());
  eager.store().index().verify_for_test();
  lazy.restart();
  require(eager.state() == lazy.state());
  require(eager.hash() == lazy.hash());
  lazy.store().index().verify_for_test();
  return 0;
}
