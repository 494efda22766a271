// The checks of the API layer and the costs of requests. Source: etcd v3rpc/key.go, storage/quota.go.
#include <absl/container/btree_set.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "mvcc/key_intervals.h"
#include "mvcc/request.h"

namespace mvcc {
namespace {

using base::Code;
using base::Status;
using wire::DeleteRangeRequest;
using wire::PutRequest;
using wire::RangeRequest;
using wire::RequestOp;
using wire::SortOrder;
using wire::SortTarget;
using wire::TxnRequest;
using Nested = std::unique_ptr<TxnRequest>;

constexpr int64_t kPutOverheadBytes = 256;
constexpr int64_t kLeaseBytes = 64;
constexpr std::string_view kOpenEnd("\0", 1);

Status check(const RangeRequest& request) {
  if (request.key.empty()) return errors::empty_key();
  if (request.sort_order < SortOrder::kNone || request.sort_order > SortOrder::kDescend ||
      request.sort_target < SortTarget::kKey || request.sort_target > SortTarget::kValue) {
    return errors::invalid_sort_option();
  }
  return {};
}

Status check(const PutRequest& request) {
  if (request.key.empty()) return errors::empty_key();
  if (request.ignore_value && !request.value.empty()) return errors::value_provided();
  if (request.ignore_lease && request.lease != 0) return errors::lease_provided();
  return {};
}

Status check(const DeleteRangeRequest& request) { return request.key.empty() ? errors::empty_key() : Status(); }

Status check(const TxnRequest& request, int64_t ops_max);

Status check(const RequestOp& op, int64_t ops_max) {
  if (const auto* range = std::get_if<RangeRequest>(&op)) return check(*range);
  if (const auto* put = std::get_if<PutRequest>(&op)) return check(*put);
  if (const auto* remove = std::get_if<DeleteRangeRequest>(&op)) return check(*remove);
  if (const auto* nested = std::get_if<Nested>(&op)) return check(**nested, ops_max);
  return errors::key_not_found();
}

// A nested transaction may use what its parent's longest list leaves.
Status check(const TxnRequest& request, int64_t ops_max) {
  const int64_t ops = static_cast<int64_t>(std::max({request.compare.size(), request.success.size(), request.failure.size()}));
  if (ops > ops_max) return errors::too_many_ops();
  for (const wire::Compare& compare : request.compare) {
    if (compare.key.empty()) return errors::empty_key();
  }
  for (const auto* branch : {&request.success, &request.failure}) {
    for (const RequestOp& op : *branch) {
      Status status = check(op, ops_max - ops);
      if (!status.ok()) return status;
    }
  }
  return {};
}

// What a list of operations puts and deletes, nested ones included.
class Touched {
 public:
  explicit Touched(std::deque<std::string>* ends) : deletes_(ends) {}

  // False: a key is put twice, or put and deleted, where etcd looks for that (R3.43). Two branches of one transaction may put
  // the same; deletes may overlap; a delete that follows in a later nested transaction is not held against a put.
  bool add(const std::vector<RequestOp>& ops, std::deque<std::string>* ends) {
    for (const RequestOp& op : ops) {
      const auto* remove = std::get_if<DeleteRangeRequest>(&op);
      if (remove == nullptr) continue;
      if (remove->range_end.empty()) {
        deletes_.add_key(remove->key);
      } else {
        deletes_.add(remove->key,
                     remove->range_end);  // Nothing for an open end: etcd forgets it here, see deleted_then_read().
      }
    }
    for (const RequestOp& op : ops) {
      const auto* nested = std::get_if<Nested>(&op);
      if (nested == nullptr) continue;
      Touched success(ends), failure(ends);
      if (!success.add((*nested)->success, ends) || !failure.add((*nested)->failure, ends)) return false;
      if (!puts_fit(success.puts_) || !puts_fit(failure.puts_)) return false;
      add_puts(std::move(success.puts_));
      add_puts(std::move(failure.puts_));
      deletes_.add_all(std::move(success.deletes_));
      deletes_.add_all(std::move(failure.deletes_));
    }
    for (const RequestOp& op : ops) {
      const auto* put = std::get_if<PutRequest>(&op);
      if (put == nullptr) continue;
      if (deletes_.contains(put->key) || !puts_.insert(put->key).second) return false;
    }
    return true;
  }

 private:
  using Keys = absl::btree_set<std::string_view>;

  // Always looks from the smaller set into the larger: nesting must not make this quadratic.
  bool puts_fit(const Keys& puts) const {
    const bool few = puts.size() < puts_.size();
    for (std::string_view key : few ? puts : puts_) {
      if ((few ? puts_ : puts).contains(key)) return false;
    }
    if (puts.size() < deletes_.size()) {
      return std::none_of(puts.begin(), puts.end(), [&](std::string_view key) { return deletes_.contains(key); });
    }
    return !deletes_.any_of([&](std::string_view begin, std::string_view end) {
      const auto first = puts.lower_bound(begin);
      return first != puts.end() && (end.empty() || *first < end);
    });
  }
  void add_puts(Keys more) {
    if (more.size() > puts_.size()) std::swap(more, puts_);
    puts_.insert(more.begin(), more.end());
  }

  KeyIntervals deletes_;
  Keys puts_;
};

// Whether a put that needs the old pair may come behind a delete to the end of the keys that takes it away: etcd 3.7.1 lets
// this through and dies of it at apply. `*deleted_from`: the lowest key such a delete began at, if any; of the operations
// before.
bool deleted_then_read(const std::vector<RequestOp>& ops, std::optional<std::string_view>* deleted_from) {
  for (const RequestOp& op : ops) {
    if (const auto* remove = std::get_if<DeleteRangeRequest>(&op)) {
      if (remove->range_end == kOpenEnd) *deleted_from = std::min(deleted_from->value_or(remove->key), remove->key);
    } else if (const auto* put = std::get_if<PutRequest>(&op)) {
      if ((put->ignore_value || put->ignore_lease) && *deleted_from && put->key >= **deleted_from) return true;
    } else if (const auto* nested = std::get_if<Nested>(&op)) {
      std::optional<std::string_view> other = *deleted_from;
      if (deleted_then_read((*nested)->success, deleted_from) || deleted_then_read((*nested)->failure, &other)) return true;
      if (other) *deleted_from = std::min(deleted_from->value_or(*other), *other);
    }
  }
  return false;
}

Status check_overlaps(const TxnRequest& request) {
  for (const auto* branch : {&request.success, &request.failure}) {
    std::deque<std::string> ends;
    if (!Touched(&ends).add(*branch, &ends)) return errors::duplicate_key();
  }
  for (const auto* branch : {&request.success, &request.failure}) {
    std::optional<std::string_view> deleted_from;
    if (deleted_then_read(*branch, &deleted_from)) return errors::key_not_found();
  }
  return {};
}

void classify(const TxnRequest& request, Checked* checked) {
  checked->read_only = checked->serializable = true;
  for (const auto* branch : {&request.success, &request.failure}) {
    for (const RequestOp& op : *branch) {
      const auto* range = std::get_if<RangeRequest>(&op);
      if (range == nullptr) checked->read_only = false;
      if (range == nullptr || !range->serializable) checked->serializable = false;
    }
  }
}

int64_t cost(const PutRequest& request) {
  return kPutOverheadBytes + static_cast<int64_t>(request.key.size() + request.value.size());
}

int64_t cost(const TxnRequest& request) {
  int64_t most = 0;
  for (const auto* branch : {&request.success, &request.failure}) {
    int64_t sum = 0;
    for (const RequestOp& op : *branch) {
      if (const auto* put = std::get_if<PutRequest>(&op)) sum += cost(*put);
      if (const auto* nested = std::get_if<Nested>(&op)) sum += cost(**nested);
    }
    most = std::max(most, sum);
  }
  return most;
}

}  // namespace

namespace errors {

Status empty_key() { return Status(Code::kInvalidArgument, "etcdserver: key is not provided"); }
Status key_not_found() { return Status(Code::kInvalidArgument, "etcdserver: key not found"); }
Status value_provided() { return Status(Code::kInvalidArgument, "etcdserver: value is provided"); }
Status lease_provided() { return Status(Code::kInvalidArgument, "etcdserver: lease is provided"); }
Status too_many_ops() { return Status(Code::kInvalidArgument, "etcdserver: too many operations in txn request"); }
Status duplicate_key() { return Status(Code::kInvalidArgument, "etcdserver: duplicate key given in txn request"); }
Status invalid_sort_option() { return Status(Code::kInvalidArgument, "etcdserver: invalid sort option"); }
Status compacted() { return Status(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"); }
Status future_revision() { return Status(Code::kOutOfRange, "etcdserver: mvcc: required revision is a future revision"); }
Status lease_not_found() { return Status(Code::kNotFound, "etcdserver: requested lease not found"); }
Status malformed() {
  return Status(Code::kInternal, "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data");
}

}  // namespace errors

Status check_request(wire::Op op, std::string_view body, size_t txn_ops_max, Checked* checked) {
  Checked ignored;
  Checked& out = checked != nullptr ? *checked : ignored;
  out = {};
  switch (op) {
    case wire::Op::kRange: {
      RangeRequest request;
      if (!wire::parse(body, request)) return errors::malformed();
      out.read_only = true;
      out.serializable = request.serializable;
      return check(request);
    }
    case wire::Op::kPut: {
      PutRequest request;
      return wire::parse(body, request) ? check(request) : errors::malformed();
    }
    case wire::Op::kDeleteRange: {
      DeleteRangeRequest request;
      return wire::parse(body, request) ? check(request) : errors::malformed();
    }
    case wire::Op::kTxn: {
      TxnRequest request;
      if (!wire::parse(body, request)) return errors::malformed();
      classify(request, &out);
      Status status = check(request, static_cast<int64_t>(std::min<size_t>(txn_ops_max, INT64_MAX)));
      return status.ok() ? check_overlaps(request) : status;
    }
    case wire::Op::kCompaction: {
      wire::CompactionRequest request;
      if (!wire::parse(body, request)) return errors::malformed();
      out.physical = request.physical;
      return {};
    }
    default:
      return {};
  }
}

Status check_range_stream(std::string_view body, Checked* checked) {
  RangeRequest request;
  Status status = check_request(wire::Op::kRange, body, 0, checked);
  if (!status.ok()) return status;
  if (!wire::parse(body, request)) return errors::malformed();
  const bool default_order = request.sort_order == SortOrder::kNone ||
                             (request.sort_target == SortTarget::kKey && request.sort_order == SortOrder::kAscend);
  if (!default_order) return Status(Code::kUnimplemented, "RangeStream does not support custom sort orders");
  if (request.min_mod_revision != 0 || request.max_mod_revision != 0 || request.min_create_revision != 0 ||
      request.max_create_revision != 0) {
    return Status(Code::kUnimplemented, "RangeStream does not support revision filters");
  }
  return {};
}

int64_t request_cost(wire::Op op, std::string_view body) {
  switch (op) {
    case wire::Op::kPut: {
      PutRequest request;
      return wire::parse(body, request) ? cost(request) : 0;
    }
    case wire::Op::kTxn: {
      TxnRequest request;
      return wire::parse(body, request) ? cost(request) : 0;
    }
    case wire::Op::kLeaseGrant:
      return kLeaseBytes;
    default:
      return 0;
  }
}

}  // namespace mvcc
