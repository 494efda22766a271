// Requests of the KV service on a Store: the checks of the API layer, what a request costs the quota, and its execution. Pure
// functions of store and bytes, so that all members do the same. An answer is its encoded fields without the header: the server
// writes the ResponseHeader (field 1) in front. Errors carry etcd's codes and texts.
// Source: feature map 3.2-3.6; wire-and-disk 5.3-5.5; etcd v3rpc/key.go, etcdserver/txn, storage/quota.go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "mvcc/range_reader.h"
#include "mvcc/store.h"
#include "wire/codec.h"

namespace mvcc {

struct Reply {
  int64_t revision = 0;  // for the header
  std::string fields;    // the response but for the header
};

// What the server decides the way of a request by.
struct Checked {
  bool serializable = false;  // Range: as asked; read-only Txn: every range in it
  bool read_only = false;     // Range; Txn of ranges alone: not logged
  bool physical = false;      // Compaction
};

// The checks before a request is proposed or read: `body` is a message of `op` (kRange, kPut, kDeleteRange, kTxn, kCompaction).
// `txn_ops_max`: --max-txn-ops. A body that does not parse is kInternal, as gRPC says it.
base::Status check_request(wire::Op op, std::string_view body, size_t txn_ops_max, Checked* checked = nullptr);
// ... and of RangeStream.
base::Status check_range_stream(std::string_view body, Checked* checked = nullptr);

// Bytes the quota reckons with (5.3): kPut, kTxn, kLeaseGrant; 0 for all else and for bodies that do not parse.
int64_t request_cost(wire::Op op, std::string_view body);

// Whether somebody reads the answer. With kUnread nothing is read that only the answer needs; effects and errors are the same.
enum class Answer { kWanted, kUnread };

// What the entries of a cluster mean, by its version. Up to 3.6 the members that were not asked leave the ranges that stand
// directly in a transaction out, so those cannot make it fail there, whatever their revision (nested ones can).
enum class Rules { kSince37, kUpTo36 };

// A committed entry. Changes the store, or fails and changes nothing; but under kUpTo36 a transaction may fail by such a range
// although its writes are done. A Compaction is the logical part.
base::Result<Reply> execute(Store& store, wire::Op op, std::string_view body, Answer answer = Answer::kWanted,
                            Rules rules = Rules::kSince37);
// Why a transaction would fail as things are, if it would by the revision of a range: under kUpTo36 not to be proposed.
base::Status check_ranges(const Store& store, std::string_view txn);
// kRange, or a kTxn that is read_only: the same on a store nobody may change.
base::Result<Reply> execute_read(const Store& store, wire::Op op, std::string_view body);

// A Range whose answer may be big.
struct RangeAnswer {
  Reply reply;                          // complete if `reader` is null
  std::unique_ptr<RangeReader> reader;  // else: reply.revision is set; fields come from here, reader->measure() first
};
// Answers up to this size come at once.
inline constexpr size_t kInlineAnswerBytesMax = 64u << 10;
base::Result<RangeAnswer> open_range(Store& store, const wire::RangeRequest& request);
base::Result<RangeAnswer> open_range(Store& store, std::string_view body);

namespace errors {
base::Status empty_key();
base::Status key_not_found();
base::Status value_provided();
base::Status lease_provided();
base::Status too_many_ops();
base::Status duplicate_key();
base::Status invalid_sort_option();
base::Status compacted();
base::Status future_revision();
base::Status lease_not_found();
base::Status malformed();
}  // namespace errors

}  // namespace mvcc
