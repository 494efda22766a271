#include <iterator>

#include "wire/codec.h"
#include "wire/reader.h"
#include "wire/utf8.h"

namespace wire {
namespace {

// Each read_fields() adds the fields of one occurrence of a message to `out`: reading several one after the other merges.

bool read_fields(Reader& in, RangeRequest& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case bytes_tag(1):
        out.key = in.take_bytes();
        break;
      case bytes_tag(2):
        out.range_end = in.take_bytes();
        break;
      case varint_tag(3):
        out.limit = in.take_int64();
        break;
      case varint_tag(4):
        out.revision = in.take_int64();
        break;
      case varint_tag(5):
        out.sort_order = in.take_enum<SortOrder>();
        break;
      case varint_tag(6):
        out.sort_target = in.take_enum<SortTarget>();
        break;
      case varint_tag(7):
        out.serializable = in.take_bool();
        break;
      case varint_tag(8):
        out.keys_only = in.take_bool();
        break;
      case varint_tag(9):
        out.count_only = in.take_bool();
        break;
      case varint_tag(10):
        out.min_mod_revision = in.take_int64();
        break;
      case varint_tag(11):
        out.max_mod_revision = in.take_int64();
        break;
      case varint_tag(12):
        out.min_create_revision = in.take_int64();
        break;
      case varint_tag(13):
        out.max_create_revision = in.take_int64();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, PutRequest& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case bytes_tag(1):
        out.key = in.take_bytes();
        break;
      case bytes_tag(2):
        out.value = in.take_bytes();
        break;
      case varint_tag(3):
        out.lease = in.take_int64();
        break;
      case varint_tag(4):
        out.prev_kv = in.take_bool();
        break;
      case varint_tag(5):
        out.ignore_value = in.take_bool();
        break;
      case varint_tag(6):
        out.ignore_lease = in.take_bool();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, DeleteRangeRequest& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case bytes_tag(1):
        out.key = in.take_bytes();
        break;
      case bytes_tag(2):
        out.range_end = in.take_bytes();
        break;
      case varint_tag(3):
        out.prev_kv = in.take_bool();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, CompactionRequest& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case varint_tag(1):
        out.revision = in.take_int64();
        break;
      case varint_tag(2):
        out.physical = in.take_bool();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, KeyValue& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case bytes_tag(1):
        out.key = in.take_bytes();
        break;
      case varint_tag(2):
        out.create_revision = in.take_int64();
        break;
      case varint_tag(3):
        out.mod_revision = in.take_int64();
        break;
      case varint_tag(4):
        out.version = in.take_int64();
        break;
      case bytes_tag(5):
        out.value = in.take_bytes();
        break;
      case varint_tag(6):
        out.lease = in.take_int64();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, ResponseHeader& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case varint_tag(1):
        out.cluster_id = in.take_varint();
        break;
      case varint_tag(2):
        out.member_id = in.take_varint();
        break;
      case varint_tag(3):
        out.revision = in.take_int64();
        break;
      case varint_tag(4):
        out.raft_term = in.take_varint();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

void give_number(Compare& out, Compare::Given member, int64_t number) {
  out.given = member;
  out.number = number;
  out.value = {};
}

bool read_fields(Reader& in, Compare& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case varint_tag(1):
        out.result = in.take_enum<CompareResult>();
        break;
      case varint_tag(2):
        out.target = in.take_enum<CompareTarget>();
        break;
      case bytes_tag(3):
        out.key = in.take_bytes();
        break;
      case varint_tag(4):
      case varint_tag(5):
      case varint_tag(6):
      case varint_tag(8):
        give_number(out, static_cast<Compare::Given>(tag >> 3), in.take_int64());
        break;
      case bytes_tag(7):
        out.given = Compare::Given::kValue;
        out.number = 0;
        out.value = in.take_bytes();
        break;
      case bytes_tag(64):
        out.range_end = in.take_bytes();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, TxnRequest& out);

// The same member of the oneof again is merged, another one replaces it.
template <class Message>
Message& member_of(RequestOp& op) {
  if (!std::holds_alternative<Message>(op)) op.emplace<Message>();
  return std::get<Message>(op);
}

bool read_fields(Reader& in, RequestOp& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case bytes_tag(1):
        in.take_message([&](Reader& inner) { return read_fields(inner, member_of<RangeRequest>(out)); });
        break;
      case bytes_tag(2):
        in.take_message([&](Reader& inner) { return read_fields(inner, member_of<PutRequest>(out)); });
        break;
      case bytes_tag(3):
        in.take_message([&](Reader& inner) { return read_fields(inner, member_of<DeleteRangeRequest>(out)); });
        break;
      case bytes_tag(4): {
        auto& txn = member_of<std::unique_ptr<TxnRequest>>(out);
        if (!txn) txn = std::make_unique<TxnRequest>();
        in.take_message([&](Reader& inner) { return read_fields(inner, *txn); });
        break;
      }
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, TxnRequest& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case bytes_tag(1):
        in.take_message([&](Reader& inner) { return read_fields(inner, out.compare.emplace_back()); });
        break;
      case bytes_tag(2):
        in.take_message([&](Reader& inner) { return read_fields(inner, out.success.emplace_back()); });
        break;
      case bytes_tag(3):
        in.take_message([&](Reader& inner) { return read_fields(inner, out.failure.emplace_back()); });
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_fields(Reader& in, RequestHeader& out) {
  for (uint32_t tag = 0; in.next(&tag);) {
    switch (tag) {
      case varint_tag(1):
        out.id = in.take_varint();
        break;
      case bytes_tag(2):
        out.username = in.take_bytes();
        if (!valid_utf8(out.username)) in.fail();
        break;
      case varint_tag(3):
        out.auth_revision = in.take_varint();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

template <class Message>
bool parse_whole(std::string_view bytes, Message& out) {
  out = Message();
  Reader in(bytes, kDepthMax);
  return read_fields(in, out);
}

// The order in which etcd's applier looks for the request; the first one set is applied.
constexpr Op kApplyOrder[] = {Op::kClusterVersionSet,
                              Op::kClusterMemberAttrSet,
                              Op::kDowngradeInfoSet,
                              Op::kDowngradeVersionTest,
                              Op::kRange,
                              Op::kPut,
                              Op::kDeleteRange,
                              Op::kTxn,
                              Op::kCompaction,
                              Op::kLeaseGrant,
                              Op::kLeaseRevoke,
                              Op::kLeaseCheckpoint,
                              Op::kAlarm,
                              Op::kAuthenticate,
                              Op::kAuthEnable,
                              Op::kAuthDisable,
                              Op::kAuthStatus,
                              Op::kAuthUserAdd,
                              Op::kAuthUserDelete,
                              Op::kAuthUserChangePassword,
                              Op::kAuthUserGrantRole,
                              Op::kAuthUserGet,
                              Op::kAuthUserRevokeRole,
                              Op::kAuthRoleAdd,
                              Op::kAuthRoleGrantPermission,
                              Op::kAuthRoleGet,
                              Op::kAuthRoleRevokePermission,
                              Op::kAuthRoleDelete,
                              Op::kAuthUserList,
                              Op::kAuthRoleList,
                              Op::kV2};
constexpr size_t kUnknownRank = std::size(kApplyOrder);

size_t rank_of(uint32_t field) {
  for (size_t rank = 0; rank < kUnknownRank; ++rank) {
    if (static_cast<uint32_t>(kApplyOrder[rank]) == field) return rank;
  }
  return kUnknownRank;
}

// A message field that comes twice means the concatenation of both.
void add_body(InternalRequest& out, uint32_t field, std::string_view body) {
  if (out.op == Op::kNone || rank_of(field) < rank_of(static_cast<uint32_t>(out.op))) {
    out.op = static_cast<Op>(field);
    out.body = body;
    out.merged.reset();
  } else if (static_cast<uint32_t>(out.op) == field) {
    if (!out.merged) out.merged = std::make_shared<std::string>(out.body);
    out.merged->append(body);
    out.body = *out.merged;
  }
}

}  // namespace

bool parse(std::string_view bytes, RangeRequest& out) { return parse_whole(bytes, out); }
bool parse(std::string_view bytes, PutRequest& out) { return parse_whole(bytes, out); }
bool parse(std::string_view bytes, DeleteRangeRequest& out) { return parse_whole(bytes, out); }
bool parse(std::string_view bytes, CompactionRequest& out) { return parse_whole(bytes, out); }
bool parse(std::string_view bytes, TxnRequest& out) { return parse_whole(bytes, out); }
bool parse(std::string_view bytes, KeyValue& out) { return parse_whole(bytes, out); }
bool parse(std::string_view bytes, ResponseHeader& out) { return parse_whole(bytes, out); }

bool parse(std::string_view bytes, InternalRequest& out) {
  out = InternalRequest();
  Reader in(bytes, kDepthMax);
  for (uint32_t tag = 0; in.next(&tag);) {
    if (tag == varint_tag(1)) {
      out.old_id = in.take_varint();
    } else if (tag == bytes_tag(100)) {
      out.has_header = true;
      in.take_message([&](Reader& inner) { return read_fields(inner, out.header); });
    } else if (tag == bytes_tag(tag >> 3) && rank_of(tag >> 3) != kUnknownRank) {
      const std::string_view body = in.take_bytes();
      if (in.ok()) add_body(out, tag >> 3, body);
    } else {
      in.skip(tag);
    }
  }
  return in.ok();
}

}  // namespace wire
