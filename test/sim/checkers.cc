#include "sim/checkers.h"

#include <algorithm>
#include <map>
#include <set>

namespace sim {
namespace {

using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using std::to_string;
using wire::Op;

void fill(const Pair& pair, mvccpb::KeyValue* kv) {
  kv->set_key(pair.key);
  kv->set_value(pair.value);
  kv->set_create_revision(pair.create_revision);
  kv->set_mod_revision(pair.mod_revision);
  kv->set_version(pair.version);
  kv->set_lease(pair.lease);
}

void add(const std::vector<Pair>& pairs, int64_t limit, RangeResponse* out) {
  out->set_count(static_cast<int64_t>(pairs.size()));
  for (const Pair& pair : pairs) {
    if (limit > 0 && out->kvs_size() == limit) {
      out->set_more(true);
      break;
    }
    fill(pair, out->add_kvs());
  }
}

// --- what the answer must be ------------------------------------------------------------------------------------------------
// Of requests as the clients here make them: no orders but by key, no filters.

void run_range(const Model& model, const View& now, const RangeRequest& request, RangeResponse* out) {
  const View then = request.revision() > 0 ? View(model, request.revision()) : now;
  add(then.range(request.key(), request.range_end()), request.limit(), out);
}

void run_put(View& now, const PutRequest& request, PutResponse* out) {
  const std::optional<Pair> before = now.get(request.key());
  if (request.prev_kv() && before) fill(*before, out->mutable_prev_kv());
  now.put(request.key(), request.value(), request.lease());
}

void run_delete(View& now, const DeleteRangeRequest& request, DeleteRangeResponse* out) {
  for (const Pair& pair : now.range(request.key(), request.range_end())) {
    if (request.prev_kv()) fill(pair, out->add_prev_kvs());
    now.erase(pair.key);
    out->set_deleted(out->deleted() + 1);
  }
}

bool holds(const View& now, const etcdserverpb::Compare& compare) {
  const Pair pair = now.get(compare.key()).value_or(Pair());
  int64_t is = 0, wanted = 0;
  switch (compare.target()) {
    case etcdserverpb::Compare::VERSION:
      is = pair.version, wanted = compare.version();
      break;
    case etcdserverpb::Compare::CREATE:
      is = pair.create_revision, wanted = compare.create_revision();
      break;
    default:
      is = pair.mod_revision, wanted = compare.mod_revision();
  }
  switch (compare.result()) {
    case etcdserverpb::Compare::EQUAL:
      return is == wanted;
    case etcdserverpb::Compare::GREATER:
      return is > wanted;
    case etcdserverpb::Compare::LESS:
      return is < wanted;
    default:
      return is != wanted;
  }
}

void run_txn(const Model& model, View& now, const TxnRequest& request, TxnResponse* out) {
  const bool good =
      std::all_of(request.compare().begin(), request.compare().end(), [&](const auto& c) { return holds(now, c); });
  out->set_succeeded(good);
  for (const etcdserverpb::RequestOp& step : good ? request.success() : request.failure()) {
    etcdserverpb::ResponseOp* answer = out->add_responses();
    if (step.has_request_range()) run_range(model, now, step.request_range(), answer->mutable_response_range());
    if (step.has_request_put()) run_put(now, step.request_put(), answer->mutable_response_put());
    if (step.has_request_delete_range()) run_delete(now, step.request_delete_range(), answer->mutable_response_delete_range());
  }
}

template <class Request, class Response, class Run>
std::string compare_with(const std::string& request_bytes, const std::string& got_bytes, Run run) {
  Request request;
  Response expected, got;
  if (!request.ParseFromString(request_bytes) || !got.ParseFromString(got_bytes)) return "an answer that does not parse";
  run(request, &expected);
  got.clear_header();
  if constexpr (std::is_same_v<Response, TxnResponse>) {
    for (etcdserverpb::ResponseOp& op : *got.mutable_responses()) {
      if (op.has_response_range()) op.mutable_response_range()->clear_header();
      if (op.has_response_put()) op.mutable_response_put()->clear_header();
      if (op.has_response_delete_range()) op.mutable_response_delete_range()->clear_header();
    }
  }
  if (got.SerializeAsString() == expected.SerializeAsString()) return {};
  return "asked {" + request.ShortDebugString() + "} answered {" + got.ShortDebugString() + "} must be {" +
         expected.ShortDebugString() + "}";
}

std::string compare_answer(const Model& model, const Operation& operation, View& now) {
  switch (operation.op) {
    case Op::kRange:
      return compare_with<RangeRequest, RangeResponse>(
          operation.request, operation.response, [&](const auto& request, auto* out) { run_range(model, now, request, out); });
    case Op::kPut:
      return compare_with<PutRequest, PutResponse>(operation.request, operation.response,
                                                   [&](const auto& request, auto* out) { run_put(now, request, out); });
    case Op::kDeleteRange:
      return compare_with<DeleteRangeRequest, DeleteRangeResponse>(
          operation.request, operation.response, [&](const auto& request, auto* out) { run_delete(now, request, out); });
    case Op::kTxn:
      return compare_with<TxnRequest, TxnResponse>(operation.request, operation.response,
                                                   [&](const auto& request, auto* out) { run_txn(model, now, request, out); });
    default:
      return "an operation of a kind that is not checked";
  }
}

// Values a request may put: unique, so they tell where it is in the log.
std::vector<std::string> values_of(const Operation& operation) {
  std::vector<std::string> values;
  if (operation.op == Op::kPut) {
    PutRequest put;
    if (put.ParseFromString(operation.request)) values.push_back(put.value());
  } else if (operation.op == Op::kTxn) {
    TxnRequest txn;
    if (!txn.ParseFromString(operation.request)) return values;
    for (const auto* steps : {&txn.success(), &txn.failure()}) {
      for (const etcdserverpb::RequestOp& step : *steps) {
        if (step.has_request_put()) values.push_back(step.request_put().value());
      }
    }
  }
  return values;
}

std::string name_of(const Operation& operation) {
  return "client " + to_string(operation.client) + ", op " + to_string(static_cast<uint32_t>(operation.op)) + " at revision " +
         to_string(operation.revision) + ": ";
}

// An acknowledged operation against model and log; `wrote`: it has a transaction of its own.
std::string check_answered(const Oracle& oracle, const Operation& operation, bool* wrote) {
  *wrote = false;
  if (operation.revision < 1 || operation.revision > oracle.revision()) return "a revision that never was";
  if (operation.op == Op::kRange) {
    View now(oracle.model(), operation.revision);
    return compare_answer(oracle.model(), operation, now);
  }
  // If it wrote, the revision is its own and what it saw was the one before.
  View before(oracle.model(), operation.revision - 1);
  std::string wrong;
  if (operation.revision > 1) {
    wrong = compare_answer(oracle.model(), operation, before);
    if (wrong.empty() && !before.changes().empty()) {
      const Transaction* transaction = oracle.at(operation.revision);
      *wrote = transaction != nullptr && transaction->changes == before.changes();
      if (*wrote) return {};
      wrong = "what it did is not in the log at its revision";
    }
  }
  View now(oracle.model(), operation.revision);
  const std::string wrong_as_read = compare_answer(oracle.model(), operation, now);
  if (wrong_as_read.empty() && now.changes().empty()) return {};
  return !wrong.empty() ? wrong : "it wrote, but not at its revision; " + wrong_as_read;
}

}  // namespace

std::string check_operations(const Oracle& oracle, const std::vector<Operation>& history) {
  struct Mark {
    base::Instant at;
    bool is_end;
    const Operation* operation;
    bool wrote;
  };
  std::vector<Mark> marks;
  std::set<int64_t> owned;
  for (const Operation& operation : history) {
    const bool read = operation.op == Op::kRange;
    if (operation.outcome != Operation::kOk) {
      for (const std::string& value : values_of(operation)) {
        const int64_t at = oracle.revision_of(value);
        if (at == 0) continue;
        if (operation.outcome == Operation::kRefused)
          return name_of(operation) + "was refused, and happened: " + operation.error;
        if (oracle.at(at)->first_applied < operation.call) return name_of(operation) + "happened before it was asked for";
      }
      continue;
    }
    bool wrote = false;
    const std::string wrong = check_answered(oracle, operation, &wrote);
    if (!wrong.empty()) return name_of(operation) + wrong;
    if (wrote && !owned.insert(operation.revision).second) return name_of(operation) + "two writes own one revision";
    const Transaction* transaction = oracle.at(operation.revision);
    if (transaction != nullptr && transaction->first_applied > operation.end) {
      return name_of(operation) + "answered before its revision was";
    }
    if (read && !operation.linearizable) continue;
    // More than a client can know: what some member has applied is committed, and ReadIndex asks for no less.
    if (operation.revision < operation.applied + (wrote ? 1 : 0)) {
      return name_of(operation) + "began when revision " + to_string(operation.applied) + " was applied somewhere";
    }
    marks.push_back({operation.call, false, &operation, wrote});
    marks.push_back({operation.end, true, &operation, wrote});
  }
  // Ends before calls at the same instant would order more than is known; calls come first.
  std::sort(marks.begin(), marks.end(),
            [](const Mark& a, const Mark& b) { return a.at < b.at || (a.at == b.at && a.is_end < b.is_end); });
  int64_t known = 0;  // the highest revision of what has ended
  std::map<const Operation*, int64_t> floor;
  for (const Mark& mark : marks) {
    if (!mark.is_end) {
      floor[mark.operation] = known;
      continue;
    }
    const int64_t least = floor[mark.operation] + (mark.wrote ? 1 : 0);
    if (mark.operation->revision < least) {
      return name_of(*mark.operation) + "began after something at revision " + to_string(floor[mark.operation]) + " had ended";
    }
    known = std::max(known, mark.operation->revision);
  }
  return {};
}

// --- watches ----------------------------------------------------------------------------------------------------------------

std::string check_watch(const Oracle& oracle, const WatchRecord& watch, int64_t compacted, int64_t complete_to) {
  if (watch.created_at == 0) return watch.responses.empty() ? "" : "events before the watcher was there";
  const etcdserverpb::WatchCreateRequest& request = watch.request;
  bool no_put = false, no_delete = false;
  for (const int filter : request.filters()) {
    no_put = no_put || filter == etcdserverpb::WatchCreateRequest::NOPUT;
    no_delete = no_delete || filter == etcdserverpb::WatchCreateRequest::NODELETE;
  }
  const auto wants = [&](const Change& change) {
    return in_range(change.pair.key, request.key(), request.range_end()) && !(change.is_delete ? no_delete : no_put);
  };
  int64_t next = watch.first();  // all below has come, or is none of its business
  // Brings `next` up to `to` (not included): there must be nothing for it in between.
  const auto pass = [&](int64_t to) -> std::string {
    for (; next < to; ++next) {
      const Transaction* transaction = oracle.at(next);
      if (transaction == nullptr) continue;
      for (const Change& change : transaction->changes) {
        if (wants(change)) return "reliable: nothing came of revision " + to_string(next) + ", key " + change.pair.key;
      }
    }
    return {};
  };
  bool ended = false;
  for (const WatchRecord::Response& response : watch.responses) {
    if (ended) return "something came after the end";
    if (response.canceled) {
      ended = true;
      if (response.compact_revision == 0) continue;
      // Only if what it had to hear next is really gone, or may be.
      if (next > compacted || next > response.compact_revision) {
        return "canceled by the compaction of " + to_string(response.compact_revision) + " though " + to_string(next) +
               " was next";
      }
      continue;
    }
    if (response.events.empty()) {
      if (std::string wrong = pass(std::min(response.revision, oracle.revision()) + 1); !wrong.empty()) {
        return "bookmarkable: progress of " + to_string(response.revision) + "; " + wrong;
      }
      continue;
    }
    size_t at = 0;
    while (at < response.events.size()) {
      const int64_t revision = response.events[at].kv().mod_revision();
      if (revision < next) {
        return "ordered, unique: revision " + to_string(revision) + " came when " + to_string(next) + " was next";
      }
      if (std::string wrong = pass(revision); !wrong.empty()) return wrong;
      const Transaction* transaction = oracle.at(revision);
      if (transaction == nullptr) return "an event of revision " + to_string(revision) + ", which never was";
      const size_t first = at;
      for (const Change& change : transaction->changes) {
        if (!wants(change)) continue;
        if (at == response.events.size()) return "atomic: revision " + to_string(revision) + " came in part";
        const mvccpb::Event& event = response.events[at++];
        const bool is_delete = event.type() == mvccpb::Event::DELETE;
        if (is_delete != change.is_delete || to_pair(event.kv()) != change.pair) {
          return "filter, ordered: at revision " + to_string(revision) + " came {" + event.ShortDebugString() +
                 "} instead of key " + change.pair.key;
        }
        const bool is_create = !is_delete && event.kv().create_revision() == event.kv().mod_revision();
        const bool created = !is_delete && (!oracle.model().get(change.pair.key, revision - 1) || change.pair.version == 1);
        if (is_create != created) return "is-create: wrong at revision " + to_string(revision);
        const std::optional<Pair> before = oracle.model().get(change.pair.key, revision - 1);
        if (!request.prev_kv()) {
          if (event.has_prev_kv()) return "prev-kv: not asked for";
        } else if (event.has_prev_kv()) {
          if (!before || to_pair(event.prev_kv()) != *before) return "prev-kv: wrong at revision " + to_string(revision);
        } else if (before && revision - 1 > compacted) {
          return "prev-kv: missing at revision " + to_string(revision);
        }
      }
      if (at == first) return "filter: an event that was not asked for, at revision " + to_string(revision);
      next = revision + 1;
    }
  }
  if (ended || complete_to == 0) return {};
  if (std::string wrong = pass(complete_to + 1); !wrong.empty()) return "at the end; " + wrong;
  return {};
}

// --- leases -----------------------------------------------------------------------------------------------------------------

std::string check_lease(const Oracle& oracle, const LeaseRecord& lease, double drift, base::Duration grace) {
  if (lease.let_go > 0) {
    if (oracle.model().get(lease.key, oracle.revision())) return {};
    return "key " + lease.key + " went with lease " + to_string(lease.id) + " though it was written again without it";
  }
  if (lease.key.empty() || lease.revoked || lease.key_lost) return {};
  for (const auto& [revision, transaction] : oracle.log()) {
    for (const Change& change : transaction.changes) {
      if (!change.is_delete || change.pair.key != lease.key) continue;
      const base::Instant start = std::max(lease.granted, lease.renewed);
      const double seconds = static_cast<double>(lease.ttl_s) * (1 - drift);
      const base::Instant least = start + base::Duration(static_cast<int64_t>(seconds * 1e9)) - grace;
      if (transaction.first_applied >= least) return {};
      const auto early = std::chrono::duration<double>(least - transaction.first_applied).count();
      return "lease " + to_string(lease.id) + " of " + to_string(lease.ttl_s) + " s ended " + to_string(early) + " s early";
    }
  }
  return {};
}

}  // namespace sim
