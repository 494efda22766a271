#include "cli/benchmark/stm.h"

#include <algorithm>
#include <utility>

namespace cli::benchmark {

using etcdserverpb::Compare;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;

void StmAttempt::begin() {
  reads_.clear();
  writes_.clear();
  revision_ = 0;
}

void StmAttempt::keep(const std::string& key, const Read& read) {
  if (reads_.empty()) revision_ = read.store_revision;  // the transaction's base
  reads_[key] = read;
}

std::optional<TxnRequest> StmAttempt::read(const std::string& key) {
  if (writes_.contains(key) || reads_.contains(key)) return std::nullopt;
  if (const auto found = prefetched_.find(key); found != prefetched_.end()) {
    keep(key, found->second);
    prefetched_.erase(found);
    return std::nullopt;
  }
  TxnRequest request;
  etcdserverpb::RangeRequest& range = *request.add_success()->mutable_request_range();
  range.set_key(key);
  if (!keeps_revision()) {
    range.set_serializable(true);
  } else if (!reads_.empty()) {
    range.set_revision(revision_);
    range.set_serializable(true);
  }
  return request;
}

void StmAttempt::take_read(const std::string& key, const TxnResponse& response) {
  Read read;
  read.store_revision = response.header().revision();
  if (response.responses_size() > 0) {
    const etcdserverpb::RangeResponse& range = response.responses(0).response_range();
    if (range.has_header()) read.store_revision = range.header().revision();
    if (range.kvs_size() > 0) read.mod_revision = range.kvs(0).mod_revision();
  }
  keep(key, read);
}

TxnRequest StmAttempt::commit() const {
  TxnRequest request;
  const auto compare = [&request](const std::string& key, Compare::CompareResult result, int64_t revision) {
    Compare& added = *request.add_compare();
    added.set_key(key);
    added.set_target(Compare::MOD);
    added.set_result(result);
    added.set_mod_revision(revision);
  };
  if (isolation_ != Isolation::kReadCommitted) {
    for (const auto& [key, read] : reads_) compare(key, Compare::EQUAL, read.mod_revision);
  }
  if (isolation_ == Isolation::kSerializableSnapshot) {
    int64_t first = INT64_MAX - 1;
    for (const auto& [key, read] : reads_) first = std::min(first, read.store_revision);
    for (const auto& [key, value] : writes_) compare(key, Compare::LESS, first + 1);
  }
  for (const auto& [key, value] : writes_) {
    etcdserverpb::PutRequest& put = *request.add_success()->mutable_request_put();
    put.set_key(key);
    put.set_value(value);
  }
  // What the next attempt will read comes along with the refusal.
  if (keeps_revision()) {
    for (const auto& [key, read] : reads_) request.add_failure()->mutable_request_range()->set_key(key);
  }
  return request;
}

bool StmAttempt::take_commit(const TxnResponse& response) {
  if (response.succeeded()) return true;
  if (!keeps_revision()) return false;
  prefetched_.clear();
  int at = 0;
  for (const auto& [key, old] : reads_) {
    if (at == response.responses_size()) break;
    const etcdserverpb::RangeResponse& range = response.responses(at++).response_range();
    Read read;
    read.store_revision = range.has_header() ? range.header().revision() : response.header().revision();
    if (range.kvs_size() > 0) read.mod_revision = range.kvs(0).mod_revision();
    prefetched_[key] = read;
  }
  return false;
}

}  // namespace cli::benchmark
