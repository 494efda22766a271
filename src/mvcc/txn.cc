#include "mvcc/txn.h"

#include <absl/container/btree_set.h>

#include <deque>
#include <string>
#include <utility>
#include <variant>

#include "base/verify.h"
#include "mvcc/key_intervals.h"

namespace mvcc {
namespace {

using base::LeaseId;
using base::Result;
using base::Status;
using wire::Compare;
using wire::CompareResult;
using wire::CompareTarget;
using wire::RequestOp;
using wire::TxnRequest;
using Given = wire::Compare::Given;
using Nested = std::unique_ptr<TxnRequest>;

int sign(int64_t a, int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

bool accepts(CompareResult wanted, int order) {
  switch (wanted) {
    case CompareResult::kEqual:
      return order == 0;
    case CompareResult::kNotEqual:
      return order != 0;
    case CompareResult::kGreater:
      return order > 0;
    case CompareResult::kLess:
      return order < 0;
  }
  return true;  // A number etcd does not know says yes.
}

// `record` null: a key that does not exist, all its numbers are 0.
bool compare_record(const Store& store, const Compare& compare, const KeyRecord* record) {
  int order = 0;
  switch (compare.target) {
    case CompareTarget::kVersion:
      order = sign(record ? record->key_version : 0, compare.number_for(Given::kVersion));
      break;
    case CompareTarget::kCreate:
      order = sign(record ? record->created : 0, compare.number_for(Given::kCreateRevision));
      break;
    case CompareTarget::kMod:
      order = sign(record ? record->newest.main : 0, compare.number_for(Given::kModRevision));
      break;
    case CompareTarget::kValue:
    case CompareTarget::kLease: {
      wire::KeyValue pair;
      PairBytes bytes;
      if (record != nullptr && (compare.target == CompareTarget::kValue || record->newest.has_lease)) {
        bytes = store.load(*record, record->newest);
        VERIFY(wire::parse(*bytes, pair));
      }
      if (compare.target == CompareTarget::kLease) {
        order = sign(pair.lease, compare.number_for(Given::kLease));
      } else {
        order = pair.value.compare(compare.given == Given::kValue ? compare.value : std::string_view());
      }
      break;
    }
  }
  return accepts(compare.result, order);
}

}  // namespace

// Keys that are gone at this point of a transaction although they existed before it.
class Deleted {
 public:
  void put(std::string_view key) {
    if (!gone_.empty()) back_.insert(key);
  }
  void erase(std::string_view key, std::string_view range_end) {
    const KeyRange range = KeyRange::of(key, range_end);
    if (range.single) {
      gone_.add_key(key);
    } else {
      gone_.add(key, range.open_end ? std::string_view() : range_end);
    }
    for (auto at = back_.lower_bound(key); at != back_.end() && range.contains(*at);) at = back_.erase(at);
  }
  bool contains(std::string_view key) const { return gone_.contains(key) && !back_.contains(key); }

 private:
  std::deque<std::string> ends_;
  KeyIntervals gone_{&ends_};
  absl::btree_set<std::string_view> back_;  // put again since
};

// --- deciding
// -----------------------------------------------------------------------------------------------------------------

bool Txn::holds(const Compare& compare) const {
  ++store_.counters().ranges;
  const KeyRange range = KeyRange::of(compare.key, compare.range_end);
  const KeyIndex& index = store_.index();
  bool any = false;
  if (range.single) {
    const KeyRecord* record = index.find(compare.key);
    if (record != nullptr && record->live()) return compare_record(store_, compare, record);
  } else {
    KeyIndex::Cursor at = index.lower_bound(compare.key);
    if (at.valid() && !at.record().live()) at.next_live();
    for (; at.valid() && range.contains(at.record().key()); at.next_live()) {
      any = true;
      if (!compare_record(store_, compare, &at.record())) return false;
    }
  }
  if (any) return true;
  return compare.target != CompareTarget::kValue && compare_record(store_, compare, nullptr);
}

void Txn::decide(const TxnRequest& request) {
  bool yes = true;
  for (const Compare& compare : request.compare) {
    if (!(yes = holds(compare))) break;
  }
  path_.push_back(yes);
  for (const RequestOp& op : yes ? request.success : request.failure) {
    if (const auto* nested = std::get_if<Nested>(&op)) decide(**nested);
  }
}

const Txn::Ops& Txn::taken(const TxnRequest& request, size_t* at) const {
  return path_[(*at)++] ? request.success : request.failure;
}

// --- checking
// -----------------------------------------------------------------------------------------------------------------

Status Txn::check_put(const Store& store, const wire::PutRequest& request) {
  if (request.lease != 0 && !store.lease_exists(LeaseId(request.lease))) return errors::lease_not_found();
  if (!request.ignore_value && !request.ignore_lease) return {};
  const KeyRecord* record = store.index().find(request.key);
  return record != nullptr && record->live() ? Status() : errors::key_not_found();
}

bool Txn::needs_old_pair(const TxnRequest& request, size_t* at) const {
  bool needs = false;
  for (const RequestOp& op : taken(request, at)) {
    if (const auto* put = std::get_if<wire::PutRequest>(&op)) needs |= put->ignore_value || put->ignore_lease;
    if (const auto* nested = std::get_if<Nested>(&op)) needs |= needs_old_pair(**nested, at);
  }
  return needs;
}

Status Txn::check_revision(const wire::RangeRequest& request) const {
  if (request.revision > revision_) return errors::future_revision();
  if (request.revision != 0 && request.revision < store_.compact_revision()) return errors::compacted();
  return {};
}

// `deleted` null: no put of the path needs the pair it replaces.
Status Txn::check(const TxnRequest& request, size_t* at, Deleted* deleted) {
  for (const RequestOp& op : taken(request, at)) {
    Status status;
    if (const auto* range = std::get_if<wire::RangeRequest>(&op)) {
      status = check_revision(*range);
      if (rules_ == Rules::kUpTo36 && &request == &request_) {
        if (unread_.ok()) unread_ = std::move(status);
        status = Status();
      }
    } else if (const auto* put = std::get_if<wire::PutRequest>(&op)) {
      status = check_put(store_, *put);
      if (put->ignore_value || put->ignore_lease || put->prev_kv) ++store_.counters().ranges;
      if (deleted != nullptr && status.ok()) {
        if ((put->ignore_value || put->ignore_lease) && deleted->contains(put->key)) return errors::key_not_found();
        deleted->put(put->key);
      }
    } else if (const auto* remove = std::get_if<wire::DeleteRangeRequest>(&op)) {
      if (deleted != nullptr) deleted->erase(remove->key, remove->range_end);
    } else if (const auto* nested = std::get_if<Nested>(&op)) {
      status = check(**nested, at, deleted);
    }
    if (!status.ok()) return status;
  }
  return {};
}

Status Txn::prepare() {
  decide(request_);
  size_t at = 0;
  const bool needs = needs_old_pair(request_, &at);
  VERIFY(at == path_.size());
  Deleted deleted;
  at = 0;
  Status status = check(request_, &at, needs ? &deleted : nullptr);
  if (!unread_.ok()) answer_ = Answer::kUnread;
  return status;
}

// --- running
// ------------------------------------------------------------------------------------------------------------------

std::string_view Txn::keep(PairBytes pair) { return *answered_.emplace_back(std::move(pair)); }

Status Txn::range(const wire::RangeRequest& request, int64_t revision, wire::RangeResponse* out) {
  out->header.revision = revision;
  ++store_.counters().ranges;
  if (answer_ == Answer::kUnread) return {};
  RangeReader reader(store_, request, request.revision > 0 ? request.revision : revision);
  for (;;) {
    const Result<bool> known = reader.measure();
    if (!known.ok()) return known.status();
    if (*known) break;
  }
  const size_t first = answered_.size();
  Status status = reader.read_all(&answered_);
  for (size_t i = first; i < answered_.size(); ++i) out->kvs.push_back(*answered_[i]);
  out->more = reader.more();
  out->count = reader.count();
  return status;
}

PutOutcome run_put(const Store& store, Store::WriteTxn& write, const wire::PutRequest& request, Answer answer) {
  PutOutcome outcome;
  const bool keep_old = request.ignore_value || request.ignore_lease;
  if (keep_old || request.prev_kv) ++store.counters().ranges;
  if (!keep_old && (!request.prev_kv || answer == Answer::kUnread)) {
    write.put(request.key, request.value, LeaseId(request.lease));
    return outcome;
  }
  PairBytes old;
  if (const KeyRecord* record = store.index().find(request.key); record != nullptr && record->live()) {
    old = store.load(*record, record->newest);
  }
  wire::KeyValue pair;
  if (old != nullptr) VERIFY(wire::parse(*old, pair));
  VERIFY(!keep_old || old != nullptr);  // check() found it, and that nothing on the way takes it.
  write.put(request.key, request.ignore_value ? pair.value : request.value,
            LeaseId(request.ignore_lease ? pair.lease : request.lease));
  if (request.prev_kv) outcome.prev = std::move(old);
  return outcome;
}

Status read_pairs(const Store& store, std::string_view key, std::string_view range_end, int64_t revision,
                  std::vector<PairBytes>* out) {
  ++store.counters().ranges;
  wire::RangeRequest request;
  request.key = key;
  request.range_end = range_end;
  RangeReader reader(store, request, revision);
  for (;;) {
    const Result<bool> known = reader.measure();
    if (!known.ok()) return known.status();
    if (*known) return reader.read_all(out);
  }
}

Status Txn::run(const TxnRequest& request, size_t* at, Store::WriteTxn* write, wire::TxnResponse* out) {
  out->succeeded = path_[*at];
  for (const RequestOp& op : taken(request, at)) {
    wire::ResponseOp& answer = out->responses.emplace_back();
    if (const auto* range_request = std::get_if<wire::RangeRequest>(&op)) {
      Status status = range(*range_request, now(write), &answer.emplace<wire::RangeResponse>());
      if (!status.ok()) return status;
    } else if (const auto* put = std::get_if<wire::PutRequest>(&op)) {
      auto& response = answer.emplace<wire::PutResponse>();
      PutOutcome outcome = run_put(store_, *write, *put, answer_);
      response.header.revision = write->revision();
      if (outcome.prev != nullptr) {
        response.has_prev_kv = true;
        response.prev_kv = keep(std::move(outcome.prev));
      }
    } else if (const auto* remove = std::get_if<wire::DeleteRangeRequest>(&op)) {
      auto& response = answer.emplace<wire::DeleteRangeResponse>();
      const size_t first = answered_.size();
      if (remove->prev_kv && answer_ == Answer::kWanted) {
        Status status = read_pairs(store_, remove->key, remove->range_end, write->revision(), &answered_);
        if (!status.ok()) return status;
      }
      for (size_t i = first; i < answered_.size(); ++i) response.prev_kvs.push_back(*answered_[i]);
      response.deleted = write->delete_range(remove->key, remove->range_end);
      response.header.revision = write->revision();
    } else if (const auto* nested = std::get_if<Nested>(&op)) {
      auto& response = answer.emplace<std::unique_ptr<wire::TxnResponse>>(std::make_unique<wire::TxnResponse>());
      Status status = run(**nested, at, write, response.get());
      if (!status.ok()) return status;
    }
  }
  return {};
}

Result<Reply> Txn::run(Store::WriteTxn* write) {
  wire::TxnResponse response;
  size_t at = 0;
  Status status = run(request_, &at, write, &response);
  if (!status.ok()) {
    // Half of it may be done: to go on would make this member differ.
    if (write != nullptr) base::fatal("cannot read the store inside a transaction: " + status.to_string());
    return status;
  }
  if (!unread_.ok()) return unread_;
  Reply reply{now(write), {}};
  if (answer_ == Answer::kWanted) {
    // Without a header it still writes the field, of no bytes.
    reply.fields = wire::encode(response);
    reply.fields.erase(0, wire::range_response_size({}, 0, false, 0));
  }
  return reply;
}

}  // namespace mvcc
