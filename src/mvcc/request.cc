#include "mvcc/request.h"

#include "base/verify.h"
#include "mvcc/txn.h"

namespace mvcc {
namespace {

using base::Result;
using base::Status;

// The read revision of a Range outside of transactions.
Result<int64_t> resolve(const Store& store, int64_t revision) {
  if (revision > store.current_revision()) return errors::future_revision();
  if (revision <= 0) return store.current_revision();
  if (revision < store.compact_revision()) return errors::compacted();
  return revision;
}

Result<Reply> run_put(Store& store, std::string_view body, Answer answer) {
  wire::PutRequest request;
  if (!wire::parse(body, request)) return errors::malformed();
  Status status = Txn::check_put(store, request);
  if (status == errors::key_not_found()) ++store.counters().ranges;  // It looked.
  if (!status.ok()) return status;
  Store::WriteTxn write(store);
  const PutOutcome outcome = run_put(store, write, request, answer);
  write.commit();
  Reply reply{store.current_revision(), {}};
  if (outcome.prev != nullptr && answer == Answer::kWanted) {
    wire::append_kv_prefix(outcome.prev->size(), reply.fields);  // prev_kv has the number that kvs have in a Range: 2.
    reply.fields += *outcome.prev;
  }
  return reply;
}

Result<Reply> run_delete(Store& store, std::string_view body, Answer answer) {
  wire::DeleteRangeRequest request;
  if (!wire::parse(body, request)) return errors::malformed();
  std::vector<PairBytes> prev;
  const CountedTxn counted(store.counters());
  if (request.prev_kv && answer == Answer::kWanted) {
    Status status = read_pairs(store, request.key, request.range_end, store.current_revision(), &prev);
    if (!status.ok()) base::fatal("cannot read the store: " + status.to_string());
  }
  Store::WriteTxn write(store);
  wire::DeleteRangeResponse response;
  response.deleted = write.delete_range(request.key, request.range_end);
  write.commit();
  Reply reply{store.current_revision(), {}};
  if (answer == Answer::kUnread) return reply;
  response.prev_kvs.assign(prev.size(), {});
  for (size_t i = 0; i < prev.size(); ++i) response.prev_kvs[i] = *prev[i];
  reply.fields = wire::encode(response);
  reply.fields.erase(0, wire::range_response_size({}, 0, false, 0));  // the header field, of no bytes
  return reply;
}

// The reads before the writes count as a transaction of their own.
Status prepare(const Store& store, Txn& txn) {
  const CountedTxn counted(store.counters());
  return txn.prepare();
}

Result<Reply> run_txn(Store& store, std::string_view body, Answer answer, Rules rules) {
  wire::TxnRequest request;
  if (!wire::parse(body, request)) return errors::malformed();
  Txn txn(store, request, answer, rules);
  Status status = prepare(store, txn);
  if (!status.ok()) return status;
  Store::WriteTxn write(store);
  Result<Reply> reply = txn.run(&write);
  write.commit();
  return reply;
}

Result<Reply> run_compaction(Store& store, std::string_view body) {
  wire::CompactionRequest request;
  if (!wire::parse(body, request)) return errors::malformed();
  Status status = store.compact(request.revision);
  if (!status.ok()) return status;
  ++store.counters().ranges;  // etcd reads the revision of its answer with one.
  return Reply{store.current_revision(), {}};
}

Status read_inline(RangeReader& reader, std::string* fields) {
  fields->reserve(fields->size() + reader.size());
  const size_t begin = fields->size();
  for (;;) {
    const Result<bool> more = reader.read(fields, SIZE_MAX);
    if (!more.ok()) return more.status();
    if (!*more) break;
  }
  VERIFY(fields->size() - begin == reader.size());
  return {};
}

Result<Reply> run_range(const Store& store, const wire::RangeRequest& request, Answer answer) {
  ++store.counters().ranges;
  const Result<int64_t> at = resolve(store, request.revision);
  if (!at.ok()) return at.status();
  Reply reply{store.current_revision(), {}};
  if (answer == Answer::kUnread) return reply;
  RangeReader reader(store, request, *at);
  for (;;) {
    const Result<bool> known = reader.measure();
    if (!known.ok()) return known.status();
    if (*known) break;
  }
  Status status = read_inline(reader, &reply.fields);
  if (!status.ok()) return status;
  return reply;
}

// One key, as it is now: what most Ranges ask for.
bool is_get(const wire::RangeRequest& request) {
  return request.range_end.empty() && request.revision <= 0 && !request.keys_only && !request.count_only &&
         request.min_mod_revision == 0 && request.max_mod_revision == 0 && request.min_create_revision == 0 &&
         request.max_create_revision == 0;
}

}  // namespace

Result<RangeAnswer> open_range(Store& store, const wire::RangeRequest& request) {
  ++store.counters().ranges;
  RangeAnswer answer;
  answer.reply.revision = store.current_revision();
  if (is_get(request)) {
    const KeyRecord* record = store.index().find(request.key);
    if (record == nullptr || !record->live()) return answer;
    const PairBytes pair = store.load(*record, record->newest);
    std::string& out = answer.reply.fields;
    out.reserve(pair->size() + wire::kKvPrefixBytesMax + 2);
    wire::append_kv_prefix(pair->size(), out);
    out += *pair;
    wire::append_range_tail(false, 1, out);
    return answer;
  }
  const Result<int64_t> at = resolve(store, request.revision);
  if (!at.ok()) return at.status();
  auto reader = std::make_unique<RangeReader>(store, request, *at);
  const Result<bool> known = reader->measure();
  if (!known.ok()) return known.status();
  if (*known && reader->size() <= kInlineAnswerBytesMax) {
    Status status = read_inline(*reader, &answer.reply.fields);
    if (!status.ok()) return status;
    return answer;
  }
  reader->pin();
  answer.reader = std::move(reader);
  return answer;
}

Result<RangeAnswer> open_range(Store& store, std::string_view body) {
  wire::RangeRequest request;
  if (!wire::parse(body, request)) return errors::malformed();
  return open_range(store, request);
}

Status check_ranges(const Store& store, std::string_view txn) {
  wire::TxnRequest request;
  if (!wire::parse(txn, request)) return errors::malformed();
  Status status = Txn(store, request, Answer::kUnread).prepare();
  const bool by_range = status == errors::future_revision() || status == errors::compacted();
  return by_range ? status : Status();
}

Result<Reply> execute(Store& store, wire::Op op, std::string_view body, Answer answer, Rules rules) {
  switch (op) {
    case wire::Op::kPut:
      return run_put(store, body, answer);
    case wire::Op::kDeleteRange:
      return run_delete(store, body, answer);
    case wire::Op::kTxn:
      return run_txn(store, body, answer, rules);
    case wire::Op::kCompaction:
      return run_compaction(store, body);
    case wire::Op::kRange: {
      wire::RangeRequest request;
      if (!wire::parse(body, request)) return errors::malformed();
      return run_range(store, request, answer);
    }
    default:
      break;
  }
  VERIFY(false && "a request of the KV service");
  return errors::malformed();
}

Result<Reply> execute_read(const Store& store, wire::Op op, std::string_view body) {
  if (op == wire::Op::kRange) {
    wire::RangeRequest request;
    if (!wire::parse(body, request)) return errors::malformed();
    return run_range(store, request, Answer::kWanted);
  }
  VERIFY(op == wire::Op::kTxn);
  wire::TxnRequest request;
  if (!wire::parse(body, request)) return errors::malformed();
  const CountedTxn counted(store.counters());
  Txn txn(store, request, Answer::kWanted);
  Status status = txn.prepare();
  if (!status.ok()) return status;
  return txn.run(nullptr);
}

}  // namespace mvcc
