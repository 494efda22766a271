// Hand codec for the messages of the hot path. Reading gives views into the input, writing is exact in size and copies each
// stored pair once. Accepts and rejects what protobuf accepts and rejects (test/fuzz/codec_fuzz.cc holds the two together):
// unknown fields and mismatched wire types are skipped, the last scalar wins, a repeated singular message is merged, the last
// member of a oneof wins. Everything else goes through the generated classes (rpc.pb.h, ...).
//
// Views live as long as the bytes they were read from. Pure; no locks, no clocks; safe on any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace wire {

// How deep messages and groups may nest below the outermost one. A txn level costs two. protobuf's C++ default is 100, Go's
// 10,000; etcd's default --max-txn-ops (128) lets 128 txn levels through, and a log with them must be readable.
inline constexpr int kDepthMax = 300;

// --- requests ---------------------------------------------------------------------------------------------------------------

enum class SortOrder : int32_t { kNone = 0, kAscend = 1, kDescend = 2 };  // open: other numbers may arrive
enum class SortTarget : int32_t { kKey = 0, kVersion = 1, kCreate = 2, kMod = 3, kValue = 4 };
enum class CompareResult : int32_t { kEqual = 0, kGreater = 1, kLess = 2, kNotEqual = 3 };
enum class CompareTarget : int32_t { kVersion = 0, kCreate = 1, kMod = 2, kValue = 3, kLease = 4 };

struct RangeRequest {
  std::string_view key;
  std::string_view range_end;  // empty: one key; one zero byte: to the end
  int64_t limit = 0;
  int64_t revision = 0;
  SortOrder sort_order = SortOrder::kNone;
  SortTarget sort_target = SortTarget::kKey;
  bool serializable = false;
  bool keys_only = false;
  bool count_only = false;
  int64_t min_mod_revision = 0;
  int64_t max_mod_revision = 0;
  int64_t min_create_revision = 0;
  int64_t max_create_revision = 0;
};

struct PutRequest {
  std::string_view key;
  std::string_view value;
  int64_t lease = 0;
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};

struct DeleteRangeRequest {
  std::string_view key;
  std::string_view range_end;
  bool prev_kv = false;
};

struct CompactionRequest {
  int64_t revision = 0;
  bool physical = false;
};

struct Compare {
  CompareResult result = CompareResult::kEqual;
  CompareTarget target = CompareTarget::kVersion;
  std::string_view key;
  std::string_view range_end;
  // The oneof target_union by its field number; it need not agree with `target`.
  enum class Given : uint8_t { kNothing = 0, kVersion = 4, kCreateRevision = 5, kModRevision = 6, kValue = 7, kLease = 8 };
  Given given = Given::kNothing;
  int64_t number = 0;      // of every member but kValue; 0 otherwise
  std::string_view value;  // of kValue; empty otherwise

  // What etcd compares with: the member that belongs to `target`, zero or empty if another one was given.
  int64_t number_for(Given wanted) const { return given == wanted ? number : 0; }
};

struct TxnRequest;
// One step; monostate: the oneof is not set (etcd answers "key not found").
using RequestOp = std::variant<std::monostate, RangeRequest, PutRequest, DeleteRangeRequest, std::unique_ptr<TxnRequest>>;

struct TxnRequest {
  std::vector<Compare> compare;
  std::vector<RequestOp> success;
  std::vector<RequestOp> failure;
};

// A stored pair, as in the store and in answers.
struct KeyValue {
  std::string_view key;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  std::string_view value;
  int64_t lease = 0;
};

// Reads a whole message into `out` (what it held is gone). False: malformed, `out` is then unspecified.
[[nodiscard]] bool parse(std::string_view bytes, RangeRequest& out);
[[nodiscard]] bool parse(std::string_view bytes, PutRequest& out);
[[nodiscard]] bool parse(std::string_view bytes, DeleteRangeRequest& out);
[[nodiscard]] bool parse(std::string_view bytes, CompactionRequest& out);
[[nodiscard]] bool parse(std::string_view bytes, TxnRequest& out);
[[nodiscard]] bool parse(std::string_view bytes, KeyValue& out);

size_t encoded_size(const RangeRequest& m);
size_t encoded_size(const PutRequest& m);
size_t encoded_size(const DeleteRangeRequest& m);
size_t encoded_size(const CompactionRequest& m);
size_t encoded_size(const TxnRequest& m);
size_t encoded_size(const KeyValue& m);
// Appends exactly encoded_size(m) bytes: fields in the order of their numbers, zeros left out.
void append(const RangeRequest& m, std::string& out);
void append(const PutRequest& m, std::string& out);
void append(const DeleteRangeRequest& m, std::string& out);
void append(const CompactionRequest& m, std::string& out);
void append(const KeyValue& m, std::string& out);
void append(const TxnRequest& m, std::string& out);

// --- log entries ------------------------------------------------------------------------------------------------------------

// Which request an entry holds: the field's number in InternalRaftRequest.
enum class Op : uint32_t {
  kNone = 0,  // none that is known
  kV2 = 2,    // etcdserverpb.Request of members up to 3.5
  kRange = 3,
  kPut = 4,
  kDeleteRange = 5,
  kTxn = 6,
  kCompaction = 7,
  kLeaseGrant = 8,
  kLeaseRevoke = 9,
  kAlarm = 10,
  kLeaseCheckpoint = 11,
  kAuthEnable = 1000,
  kAuthDisable = 1011,
  kAuthenticate = 1012,
  kAuthStatus = 1013,
  kAuthUserAdd = 1100,
  kAuthUserDelete = 1101,
  kAuthUserGet = 1102,
  kAuthUserChangePassword = 1103,
  kAuthUserGrantRole = 1104,
  kAuthUserRevokeRole = 1105,
  kAuthUserList = 1106,
  kAuthRoleList = 1107,
  kAuthRoleAdd = 1200,
  kAuthRoleDelete = 1201,
  kAuthRoleGet = 1202,
  kAuthRoleGrantPermission = 1203,
  kAuthRoleRevokePermission = 1204,
  kClusterVersionSet = 1300,
  kClusterMemberAttrSet = 1301,
  kDowngradeInfoSet = 1302,
  kDowngradeVersionTest = 9900,
};

struct RequestHeader {
  uint64_t id = 0;
  std::string_view username;
  uint64_t auth_revision = 0;
};

// An InternalRaftRequest: its header and one request, not parsed yet. When several are set (no member writes that) the one
// that etcd's applier would take is here.
struct InternalRequest {
  bool has_header = false;
  RequestHeader header;
  uint64_t old_id = 0;  // field ID, from before there were headers
  Op op = Op::kNone;
  std::string_view body;  // message of `op`; read it with parse() or the generated class

  // The id that pairs entry and waiter. 0 and no header: real etcd refuses to go on with such an entry.
  uint64_t id() const { return old_id != 0 ? old_id : header.id; }

  std::shared_ptr<std::string> merged;  // holds `body` when the request came in pieces
};

// The body of a request is not looked into; it may be malformed when this is true.
[[nodiscard]] bool parse(std::string_view bytes, InternalRequest& out);

// The bytes of an entry, from a request as the client sent it. `body` must be a well-formed message of `op` (parsed once).
// Fields come in the order of their numbers, as protobuf in Go writes them.
std::string encode_internal_request(const RequestHeader& header, Op op, std::string_view body);
size_t internal_request_size(const RequestHeader& header, Op op, size_t body_size);

// --- answers ----------------------------------------------------------------------------------------------------------------

struct ResponseHeader {
  uint64_t cluster_id = 0;
  uint64_t member_id = 0;
  int64_t revision = 0;
  uint64_t raft_term = 0;
};
size_t encoded_size(const ResponseHeader& m);
void append(const ResponseHeader& m, std::string& out);
[[nodiscard]] bool parse(std::string_view bytes, ResponseHeader& out);

// Views of encoded KeyValue messages, as they are stored; whoever fills the struct keeps the bytes alive until it is written.
struct RangeResponse {
  bool has_header = true;  // false in the middle pieces of a RangeStream
  ResponseHeader header;
  std::vector<std::string_view> kvs;
  bool more = false;
  int64_t count = 0;
};

struct PutResponse {
  ResponseHeader header;
  bool has_prev_kv = false;
  std::string_view prev_kv;
};

struct DeleteRangeResponse {
  ResponseHeader header;
  int64_t deleted = 0;
  std::vector<std::string_view> prev_kvs;
};

struct TxnResponse;
using ResponseOp = std::variant<std::monostate, RangeResponse, PutResponse, DeleteRangeResponse, std::unique_ptr<TxnResponse>>;

struct TxnResponse {
  ResponseHeader header;  // inner answers carry only `revision`
  bool succeeded = false;
  std::vector<ResponseOp> responses;
};

size_t encoded_size(const RangeResponse& m);
size_t encoded_size(const PutResponse& m);
size_t encoded_size(const DeleteRangeResponse& m);
size_t encoded_size(const TxnResponse& m);
// Appends exactly encoded_size(m) bytes. One growth of `out`, linear in the output whatever the nesting.
void append(const RangeResponse& m, std::string& out);
void append(const PutResponse& m, std::string& out);
void append(const DeleteRangeResponse& m, std::string& out);
void append(const TxnResponse& m, std::string& out);

template <class Message>
std::string encode(const Message& m) {
  std::string out;
  append(m, out);
  return out;
}

// A RangeResponse in parts, for answers too big to hold: head, each pair, tail; range_response_size() knows the sum before
// the first value is read.
// Bytes of one pair inside its answer: tag, length, message.
size_t kv_field_size(size_t kv_bytes);
size_t range_response_size(const ResponseHeader& header, uint64_t kv_fields_bytes, bool more, int64_t count);
void append_range_head(const ResponseHeader& header, std::string& out);
// Tag and length of a pair of `kv_bytes` bytes; the pair itself follows. At most kKvPrefixBytesMax bytes.
void append_kv_prefix(size_t kv_bytes, std::string& out);
inline constexpr size_t kKvPrefixBytesMax = 6;
void append_range_tail(bool more, int64_t count, std::string& out);

// RangeStreamResponse{range_response: m}.
void append_range_stream(const RangeResponse& m, std::string& out);

}  // namespace wire
