// Writing in two passes over the message: the sizes first, then the bytes into a string that grows once. Each message lists its
// fields once, in put_fields(), for both passes; nested messages take their size from the list that the first pass left.
#include <cstring>

#include "base/verify.h"
#include "wire/codec.h"
#include "wire/reader.h"

namespace wire {
namespace {

size_t varint_size(uint64_t value) {
  // 7 bits a byte; 0 still takes one.
  return static_cast<size_t>((63 - __builtin_clzll(value | 1)) / 7) + 1;
}

char* put_varint(char* at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

// Sizes of nested messages in the order in which they begin. Answers outside of transactions have one: no heap for them.
class Sizes {
 public:
  size_t add_slot() {
    if (count_ >= kInline) more_.push_back(0);
    return count_++;
  }
  size_t& operator[](size_t slot) { return slot < kInline ? inline_[slot] : more_[slot - kInline]; }
  size_t operator[](size_t slot) const { return slot < kInline ? inline_[slot] : more_[slot - kInline]; }

 private:
  static constexpr size_t kInline = 4;
  size_t inline_[kInline];
  std::vector<size_t> more_;
  size_t count_ = 0;
};

// The first pass: adds up.
class Sizer {
 public:
  explicit Sizer(Sizes* sizes) : sizes_(sizes) {}

  void number(uint32_t field, uint64_t value) {
    if (value != 0) present_number(field, value);
  }
  void present_number(uint32_t field, uint64_t value) { size_ += varint_size(varint_tag(field)) + varint_size(value); }
  // Left out when empty.
  void bytes(uint32_t field, std::string_view value) {
    if (!value.empty()) present(field, value);
  }
  void present(uint32_t field, std::string_view value) {
    size_ += varint_size(bytes_tag(field)) + varint_size(value.size()) + value.size();
  }
  template <class Message>
  void message(uint32_t field, const Message& m) {
    const size_t outside = size_;
    const size_t slot = sizes_->add_slot();
    size_ = 0;
    put_fields(*this, m);
    (*sizes_)[slot] = size_;
    size_ += outside + varint_size(bytes_tag(field)) + varint_size((*sizes_)[slot]);
  }

  size_t size() const { return size_; }

 private:
  Sizes* sizes_;
  size_t size_ = 0;
};

// The second pass: writes into room that is there.
class Writer {
 public:
  Writer(char* at, const Sizes& sizes) : at_(at), sizes_(&sizes) {}

  void number(uint32_t field, uint64_t value) {
    if (value != 0) present_number(field, value);
  }
  // A member of a oneof is written even when it is zero.
  void present_number(uint32_t field, uint64_t value) {
    at_ = put_varint(at_, varint_tag(field));
    at_ = put_varint(at_, value);
  }
  void bytes(uint32_t field, std::string_view value) {
    if (!value.empty()) present(field, value);
  }
  void present(uint32_t field, std::string_view value) {
    at_ = put_varint(at_, bytes_tag(field));
    at_ = put_varint(at_, value.size());
    if (!value.empty()) std::memcpy(at_, value.data(), value.size());
    at_ += value.size();
  }
  template <class Message>
  void message(uint32_t field, const Message& m) {
    at_ = put_varint(at_, bytes_tag(field));
    at_ = put_varint(at_, (*sizes_)[next_slot_++]);
    put_fields(*this, m);
  }

  const char* at() const { return at_; }

 private:
  char* at_;
  const Sizes* sizes_;
  size_t next_slot_ = 0;
};

uint64_t wire_number(int64_t value) { return static_cast<uint64_t>(value); }
template <class Enum>
uint64_t wire_enum(Enum value) {
  return static_cast<uint64_t>(static_cast<int64_t>(value));  // Negative ones take ten bytes, as in protobuf.
}

template <class Out>
void put_fields(Out& out, const RangeRequest& m) {
  out.bytes(1, m.key);
  out.bytes(2, m.range_end);
  out.number(3, wire_number(m.limit));
  out.number(4, wire_number(m.revision));
  out.number(5, wire_enum(m.sort_order));
  out.number(6, wire_enum(m.sort_target));
  out.number(7, m.serializable);
  out.number(8, m.keys_only);
  out.number(9, m.count_only);
  out.number(10, wire_number(m.min_mod_revision));
  out.number(11, wire_number(m.max_mod_revision));
  out.number(12, wire_number(m.min_create_revision));
  out.number(13, wire_number(m.max_create_revision));
}

template <class Out>
void put_fields(Out& out, const PutRequest& m) {
  out.bytes(1, m.key);
  out.bytes(2, m.value);
  out.number(3, wire_number(m.lease));
  out.number(4, m.prev_kv);
  out.number(5, m.ignore_value);
  out.number(6, m.ignore_lease);
}

template <class Out>
void put_fields(Out& out, const DeleteRangeRequest& m) {
  out.bytes(1, m.key);
  out.bytes(2, m.range_end);
  out.number(3, m.prev_kv);
}

template <class Out>
void put_fields(Out& out, const CompactionRequest& m) {
  out.number(1, wire_number(m.revision));
  out.number(2, m.physical);
}

template <class Out>
void put_fields(Out& out, const KeyValue& m) {
  out.bytes(1, m.key);
  out.number(2, wire_number(m.create_revision));
  out.number(3, wire_number(m.mod_revision));
  out.number(4, wire_number(m.version));
  out.bytes(5, m.value);
  out.number(6, wire_number(m.lease));
}

template <class Out>
void put_fields(Out& out, const Compare& m) {
  out.number(1, wire_enum(m.result));
  out.number(2, wire_enum(m.target));
  out.bytes(3, m.key);
  const auto field = static_cast<uint32_t>(m.given);
  if (m.given == Compare::Given::kValue) {
    out.present(field, m.value);
  } else if (m.given != Compare::Given::kNothing) {
    out.present_number(field, wire_number(m.number));
  }
  out.bytes(64, m.range_end);
}

template <class Out>
void put_fields(Out& out, const TxnRequest& m);

template <class Out>
void put_fields(Out& out, const RequestOp& m) {
  if (const auto* range = std::get_if<RangeRequest>(&m)) out.message(1, *range);
  if (const auto* put = std::get_if<PutRequest>(&m)) out.message(2, *put);
  if (const auto* erase = std::get_if<DeleteRangeRequest>(&m)) out.message(3, *erase);
  if (const auto* txn = std::get_if<std::unique_ptr<TxnRequest>>(&m)) out.message(4, **txn);
}

template <class Out>
void put_fields(Out& out, const TxnRequest& m) {
  for (const Compare& compare : m.compare) out.message(1, compare);
  for (const RequestOp& op : m.success) out.message(2, op);
  for (const RequestOp& op : m.failure) out.message(3, op);
}

template <class Out>
void put_fields(Out& out, const RequestHeader& m) {
  out.number(1, m.id);
  out.bytes(2, m.username);
  out.number(3, m.auth_revision);
}

template <class Out>
void put_fields(Out& out, const ResponseHeader& m) {
  out.number(1, m.cluster_id);
  out.number(2, m.member_id);
  out.number(3, wire_number(m.revision));
  out.number(4, m.raft_term);
}

template <class Out>
void put_fields(Out& out, const RangeResponse& m) {
  if (m.has_header) out.message(1, m.header);
  for (std::string_view kv : m.kvs) out.present(2, kv);
  out.number(3, m.more);
  out.number(4, wire_number(m.count));
}

template <class Out>
void put_fields(Out& out, const PutResponse& m) {
  out.message(1, m.header);
  if (m.has_prev_kv) out.present(2, m.prev_kv);
}

template <class Out>
void put_fields(Out& out, const DeleteRangeResponse& m) {
  out.message(1, m.header);
  out.number(2, wire_number(m.deleted));
  for (std::string_view kv : m.prev_kvs) out.present(3, kv);
}

template <class Out>
void put_fields(Out& out, const TxnResponse& m);

template <class Out>
void put_fields(Out& out, const ResponseOp& m) {
  if (const auto* range = std::get_if<RangeResponse>(&m)) out.message(1, *range);
  if (const auto* put = std::get_if<PutResponse>(&m)) out.message(2, *put);
  if (const auto* erase = std::get_if<DeleteRangeResponse>(&m)) out.message(3, *erase);
  if (const auto* txn = std::get_if<std::unique_ptr<TxnResponse>>(&m)) out.message(4, **txn);
}

template <class Out>
void put_fields(Out& out, const TxnResponse& m) {
  out.message(1, m.header);
  out.number(2, m.succeeded);
  for (const ResponseOp& op : m.responses) out.message(3, op);
}

template <class Message>
size_t size_of(const Message& m) {
  Sizes sizes;
  Sizer sizer(&sizes);
  put_fields(sizer, m);
  return sizer.size();
}

template <class Message>
void append_message(const Message& m, std::string& out) {
  Sizes sizes;
  Sizer sizer(&sizes);
  put_fields(sizer, m);
  const size_t old_size = out.size();
  out.resize(old_size + sizer.size());
  Writer writer(out.data() + old_size, sizes);
  put_fields(writer, m);
  VERIFY(writer.at() == out.data() + out.size());
}

// An entry's payload: the request as it came, framed by the header.
struct Entry {
  const RequestHeader& header;
  uint32_t field;
  std::string_view body;
};

constexpr uint32_t kEntryHeaderField = 100;

template <class Out>
void put_fields(Out& out, const Entry& m) {
  if (m.field < kEntryHeaderField) out.present(m.field, m.body);
  out.message(kEntryHeaderField, m.header);
  if (m.field > kEntryHeaderField) out.present(m.field, m.body);
}

struct RangeStreamPiece {
  const RangeResponse& response;
};

template <class Out>
void put_fields(Out& out, const RangeStreamPiece& m) {
  out.message(1, m.response);
}

// The fields of a RangeResponse before and after its pairs.
struct RangeHead {
  const ResponseHeader& header;
};
struct RangeTail {
  bool more;
  int64_t count;
};

template <class Out>
void put_fields(Out& out, const RangeHead& m) {
  out.message(1, m.header);
}

template <class Out>
void put_fields(Out& out, const RangeTail& m) {
  out.number(3, m.more);
  out.number(4, wire_number(m.count));
}

}  // namespace

size_t encoded_size(const RangeRequest& m) { return size_of(m); }
size_t encoded_size(const PutRequest& m) { return size_of(m); }
size_t encoded_size(const DeleteRangeRequest& m) { return size_of(m); }
size_t encoded_size(const CompactionRequest& m) { return size_of(m); }
size_t encoded_size(const TxnRequest& m) { return size_of(m); }
size_t encoded_size(const KeyValue& m) { return size_of(m); }
size_t encoded_size(const ResponseHeader& m) { return size_of(m); }
size_t encoded_size(const RangeResponse& m) { return size_of(m); }
size_t encoded_size(const PutResponse& m) { return size_of(m); }
size_t encoded_size(const DeleteRangeResponse& m) { return size_of(m); }
size_t encoded_size(const TxnResponse& m) { return size_of(m); }

void append(const RangeRequest& m, std::string& out) { append_message(m, out); }
void append(const PutRequest& m, std::string& out) { append_message(m, out); }
void append(const DeleteRangeRequest& m, std::string& out) { append_message(m, out); }
void append(const CompactionRequest& m, std::string& out) { append_message(m, out); }
void append(const TxnRequest& m, std::string& out) { append_message(m, out); }
void append(const KeyValue& m, std::string& out) { append_message(m, out); }
void append(const ResponseHeader& m, std::string& out) { append_message(m, out); }
void append(const RangeResponse& m, std::string& out) { append_message(m, out); }
void append(const PutResponse& m, std::string& out) { append_message(m, out); }
void append(const DeleteRangeResponse& m, std::string& out) { append_message(m, out); }
void append(const TxnResponse& m, std::string& out) { append_message(m, out); }

size_t internal_request_size(const RequestHeader& header, Op op, size_t body_size) {
  // Only the length of the body counts here.
  const auto field = static_cast<uint32_t>(op);
  return size_of(Entry{header, field, {}}) - varint_size(0) + varint_size(body_size) + body_size;
}

std::string encode_internal_request(const RequestHeader& header, Op op, std::string_view body) {
  VERIFY(op != Op::kNone);
  std::string out;
  append_message(Entry{header, static_cast<uint32_t>(op), body}, out);
  return out;
}

size_t kv_field_size(size_t kv_bytes) { return 1 + varint_size(kv_bytes) + kv_bytes; }

size_t range_response_size(const ResponseHeader& header, uint64_t kv_fields_bytes, bool more, int64_t count) {
  return size_of(RangeHead{header}) + kv_fields_bytes + size_of(RangeTail{more, count});
}

void append_range_head(const ResponseHeader& header, std::string& out) { append_message(RangeHead{header}, out); }

void append_kv_prefix(size_t kv_bytes, std::string& out) {
  char prefix[kKvPrefixBytesMax];
  VERIFY(kv_bytes <= UINT32_MAX);
  prefix[0] = static_cast<char>(bytes_tag(2));
  out.append(prefix, put_varint(prefix + 1, kv_bytes));
}

void append_range_tail(bool more, int64_t count, std::string& out) { append_message(RangeTail{more, count}, out); }

void append_range_stream(const RangeResponse& m, std::string& out) { append_message(RangeStreamPiece{m}, out); }

}  // namespace wire
