// etcdserverpb.KV: Range, RangeStream, Put, DeleteRange, Txn, Compact. The hot path: a call costs one waiter or reader, no
// coroutine; requests are read in place and answers spliced from stored bytes. Source: etcd v3rpc/key.go, v3_server.go.
#include "mvcc/request.h"
#include "server/applier.h"
#include "server/errors.h"
#include "server/maintainer.h"
#include "server/metrics.h"
#include "server/proto_call.h"
#include "server/range_source.h"
#include "server/request_log.h"
#include "server/services.h"

namespace server {
namespace {

using base::Code;
using base::Status;
using wire::Op;

// Answers with the header and the fields the store gave.
void answer(const Node& node, rpc::UnaryCall& call, int64_t revision, const std::string& fields) {
  call.finish(with_header(node.header(revision), fields));
}

class WriteWaiter final : public Waiter {
 public:
  WriteWaiter(Node& node, rpc::UnaryCall call) : node_(node), call_(std::move(call)) {}
  void done(Outcome outcome) override {
    if (!outcome.status.ok()) return call_.finish(std::move(outcome.status));
    answer(node_, call_, outcome.revision, outcome.fields);
  }

 private:
  Node& node_;
  rpc::UnaryCall call_;
};

// A Range, or a Txn that only reads: executed here, never logged.
class KvReader final : public Reader {
 public:
  KvReader(Node& node, Op op, rpc::UnaryCall call) : node_(node), op_(op), call_(std::move(call)), began_(clock().now()) {}
  void read(const Status& status) override {
    if (!status.ok()) {
      if (op_ == Op::kRange) failed(status);
      return call_.finish(status);
    }
    if (call_.cancelled()) return call_.finish(Status(Code::kCancelled, "context canceled"));
    if (op_ == Op::kRange) return answer_range(node_, std::move(call_), began_);
    const base::Instant before = clock().now();
    base::Result<mvcc::Reply> reply = mvcc::execute_read(node_.store(), op_, call_.request());
    const base::Duration took = clock().now() - before;
    node_.metrics().record_request("ReadonlyTxn", reply.ok(), took);
    if (is_slow(node_, took) || before - began_ + took > kTraceFrom) {
      FinishedTxn finished{call_.request(), reply.status(), {}, 0, before - began_, took};
      if (reply.ok()) finished.fields = reply->fields, finished.revision = reply->revision;
      log_slow_read_txn(node_, finished);
    }
    if (!reply.ok()) return call_.finish(reply.status());
    answer(node_, call_, reply->revision, reply->fields);
  }

 private:
  const base::Clock& clock() const { return node_.environment().loop.clock(); }
  void failed(const Status& status) {
    const base::Duration took = clock().now() - began_;
    node_.metrics().record_request("Range", false, took);
    if (!is_slow(node_, took)) return;
    FinishedRange finished;
    finished.request = call_.request();
    finished.status = status;
    finished.waited = finished.took = took;
    log_slow_range(node_, finished);
  }

  Node& node_;
  const Op op_;
  rpc::UnaryCall call_;
  const base::Instant began_;
};

class CompactWaiter final : public Waiter {
 public:
  CompactWaiter(Node& node, bool physical, rpc::UnaryCall call) : node_(node), physical_(physical), call_(std::move(call)) {}
  void done(Outcome outcome) override {
    if (!outcome.status.ok()) return call_.finish(std::move(outcome.status));
    if (!physical_) return answer(node_, call_, outcome.revision, outcome.fields);
    auto call = std::make_shared<rpc::UnaryCall>(std::move(call_));
    node_.maintainer().when_compacted([&node = node_, call, outcome](const Status& status) {
      if (!status.ok()) return call->finish(status);
      answer(node, *call, outcome.revision, outcome.fields);
    });
  }

 private:
  Node& node_;
  const bool physical_;
  rpc::UnaryCall call_;
};

// Admission and the checks of the API layer; false: answered.
bool begin_kv(const Node& node, rpc::UnaryCall& call, Op op, OnLearner on_learner, mvcc::Checked* checked) {
  Status status = admit(node, call.context(), on_learner);
  if (status.ok()) status = mvcc::check_request(op, call.request(), node.config().max_txn_ops, checked);
  if (status.ok()) return true;
  call.finish(std::move(status));
  return false;
}

void range(Node& node, rpc::UnaryCall call) {
  mvcc::Checked checked;
  if (!begin_kv(node, call, Op::kRange, OnLearner::kServed, &checked)) return;
  if (checked.serializable) return answer_range(node, std::move(call), node.environment().loop.clock().now());
  if (node.is_learner()) return call.finish(errors::learner_unsupported());
  node.linearizable_read(std::make_unique<KvReader>(node, Op::kRange, std::move(call)));
}

void write(Node& node, Op op, rpc::UnaryCall call) {
  mvcc::Checked checked;
  if (!begin_kv(node, call, op, OnLearner::kRefused, &checked)) return;
  if (op == Op::kTxn && checked.read_only) {
    auto reader = std::make_unique<KvReader>(node, op, std::move(call));
    if (checked.serializable) return reader->read(Status());
    return node.linearizable_read(std::move(reader));
  }
  const std::string_view body = call.request();
  if (op == Op::kCompaction) {
    node.propose(op, body, std::make_unique<CompactWaiter>(node, checked.physical, std::move(call)));
  } else {
    if (op == Op::kTxn && rules_of(node) == mvcc::Rules::kUpTo36) {
      if (Status status = mvcc::check_ranges(node.store(), body); !status.ok()) return call.finish(std::move(status));
    }
    node.propose(op, body, std::make_unique<WriteWaiter>(node, std::move(call)));
  }
}

}  // namespace

void add_kv_service(rpc::Server& server, Node& node) {
  server.add_unary("/etcdserverpb.KV/Range", [&node](rpc::UnaryCall call) { range(node, std::move(call)); });
  server.add_unary("/etcdserverpb.KV/Put", [&node](rpc::UnaryCall call) { write(node, Op::kPut, std::move(call)); });
  server.add_unary("/etcdserverpb.KV/DeleteRange",
                   [&node](rpc::UnaryCall call) { write(node, Op::kDeleteRange, std::move(call)); });
  server.add_unary("/etcdserverpb.KV/Txn", [&node](rpc::UnaryCall call) { write(node, Op::kTxn, std::move(call)); });
  server.add_unary("/etcdserverpb.KV/Compact", [&node](rpc::UnaryCall call) { write(node, Op::kCompaction, std::move(call)); });
  add_range_stream(server, node);
}

}  // namespace server
