// The lines about single requests: entries and reads that took long or failed, what a call asked and got, where its time went.
// Callers compare the time first; what is here costs a parse and a string. Owner: core loop.
// Source: etcd etcdserver/txn/util.go, api/v3rpc/interceptor.go, pkg/traceutil.
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "rpc/server.h"
#include "server/waiters.h"
#include "wire/codec.h"

namespace server {

class Node;

// A request that took longer leaves a "trace" line.
inline constexpr base::Duration kTraceFrom = std::chrono::milliseconds(100);
// Whether a read that took so long leaves any line.
bool is_slow(const Node& node, base::Duration took);

// An entry was applied in `took`: `apply request took too long` if that is above --warning-apply-duration, and `failed to apply
// request` if `failed`.
struct AppliedEntry {
  std::string_view bytes;  // the InternalRaftRequest
  const wire::InternalRequest& request;
  const Outcome& outcome;
  base::Duration took;
  bool failed;
};
void log_applied(Node& node, const AppliedEntry& entry);

// A Put or Txn that this member proposed `took` ago, more than kTraceFrom, is answered now.
void log_slow_write(Node& node, const AppliedEntry& entry, base::Duration took);

// A Range that took longer than --warning-apply-duration or kTraceFrom.
struct FinishedRange {
  std::string_view request;
  base::Status status;
  std::string_view fields;       // the answer without its header, if it is here
  uint64_t pairs = 0, bytes = 0;  // of an answer that is not
  int64_t revision = 0;
  base::Duration waited;  // for the members to agree that the read is not stale; 0 for a serializable one
  base::Duration took;    // that included
};
void log_slow_range(Node& node, const FinishedRange& range);

// A Txn that only reads.
struct FinishedTxn {
  std::string_view request;
  base::Status status;
  std::string_view fields;
  int64_t revision = 0;
  base::Duration waited;
  base::Duration took;  // that not included
};
void log_slow_read_txn(Node& node, const FinishedTxn& txn);

// A unary call has its answer: `request stats`, for slow ones and for all at level debug.
void log_call(const base::Clock& clock, const rpc::FinishedUnary& call);

}  // namespace server
