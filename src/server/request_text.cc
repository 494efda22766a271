#include "server/request_text.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <array>
#include <cstdio>
#include <utility>

#include "base/utf8.h"
#include "raft_internal.pb.h"
#include "rpc.pb.h"
#include "wire/codec.h"

namespace server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// Transactions nest deeper than protobuf's own limit.
bool read(std::string_view bytes, Message* out) {
  google::protobuf::io::ArrayInputStream array(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedInputStream input(&array);
  input.SetRecursionLimit(wire::kDepthMax);
  return out->ParseFromCodedStream(&input) && input.ConsumedEntireMessage();
}

void append_hex(std::string& out, uint64_t number, int digits_min) {
  char text[17];
  std::snprintf(text, sizeof text, "%0*llx", digits_min, static_cast<unsigned long long>(number));
  out += text;
}

// --- protobuf's text form ----------------------------------------------------------------------------------------------------

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const base::Rune rune = base::decode_rune(text);
    const auto byte = static_cast<uint8_t>(text[0]);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text[0];
    } else if (byte == '\n' || byte == '\r' || byte == '\t') {
      out += byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : "\\t";
    } else if (byte < ' ' || byte == 0x7f || (byte >= 0x80 && !rune.valid)) {
      out += "\\x";
      append_hex(out, byte, 2);
    } else if (byte == 0xc2 && static_cast<uint8_t>(text[1]) < 0xa0) {  // U+0080 to U+009f
      out += "\\u00";
      append_hex(out, static_cast<uint8_t>(text[1]), 2);
    } else {
      out += text.substr(0, rune.bytes);
    }
    text.remove_prefix(byte >= 0x80 ? rune.bytes : 1);
  }
  out += '"';
}

void append_message(std::string& out, const Message& message);
void append_unknown(std::string& out, const UnknownFieldSet& fields, size_t begin);

void append_value(std::string& out, const Message& message, const FieldDescriptor* field, int i) {
  const Reflection& at = *message.GetReflection();
  const bool many = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      out += std::to_string(many ? at.GetRepeatedInt32(message, field, i) : at.GetInt32(message, field));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      out += std::to_string(many ? at.GetRepeatedInt64(message, field, i) : at.GetInt64(message, field));
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      out += std::to_string(many ? at.GetRepeatedUInt32(message, field, i) : at.GetUInt32(message, field));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      out += std::to_string(many ? at.GetRepeatedUInt64(message, field, i) : at.GetUInt64(message, field));
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      out += (many ? at.GetRepeatedBool(message, field, i) : at.GetBool(message, field)) ? "true" : "false";
      break;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = many ? at.GetRepeatedEnumValue(message, field, i) : at.GetEnumValue(message, field);
      const auto* value = field->enum_type()->FindValueByNumber(number);
      out += value != nullptr ? value->name() : std::to_string(number);
      break;
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string scratch;
      append_quoted(out, many ? at.GetRepeatedStringReference(message, field, i, &scratch)
                              : at.GetStringReference(message, field, &scratch));
      break;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      out += '{';
      append_message(out, many ? at.GetRepeatedMessage(message, field, i) : at.GetMessage(message, field));
      out += '}';
      break;
    default:  // etcd's messages have no floating point
      out += '?';
  }
}

void append_message(std::string& out, const Message& message) {
  const size_t begin = out.size();
  const Reflection& at = *message.GetReflection();
  const auto* type = message.GetDescriptor();
  for (int f = 0; f < type->field_count(); ++f) {
    const FieldDescriptor* field = type->field(f);
    const int count = field->is_repeated() ? at.FieldSize(message, field) : at.HasField(message, field) ? 1 : 0;
    for (int i = 0; i < count; ++i) {
      if (out.size() > begin) out += ' ';
      out += field->name();
      out += ':';
      append_value(out, message, field, i);
    }
  }
  append_unknown(out, at.GetUnknownFields(message), begin);
}

void append_unknown(std::string& out, const UnknownFieldSet& fields, size_t begin) {
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (out.size() > begin) out += ' ';
    out += std::to_string(field.number());
    out += ':';
    switch (field.type()) {
      case UnknownField::TYPE_VARINT:
        out += std::to_string(field.varint());
        break;
      case UnknownField::TYPE_FIXED32:
        out += "0x";
        append_hex(out, field.fixed32(), 1);
        break;
      case UnknownField::TYPE_FIXED64:
        out += "0x";
        append_hex(out, field.fixed64(), 1);
        break;
      case UnknownField::TYPE_LENGTH_DELIMITED:
        append_quoted(out, field.length_delimited());
        break;
      case UnknownField::TYPE_GROUP:
        out += '{';
        append_unknown(out, field.group(), out.size());
        out += '}';
        break;
    }
  }
}

// --- the older form ----------------------------------------------------------------------------------------------------------

void append_old(std::string& out, std::string_view name, std::string_view bytes) {
  if (bytes.empty()) return;
  out += name;
  out += ":\"";
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    switch (c) {
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      default:
        if (byte >= 0x20 && byte < 0x7f) {
          out += c;
        } else {
          char octal[5];
          std::snprintf(octal, sizeof octal, "\\%03o", byte);
          out += octal;
        }
    }
  }
  out += "\" ";
}

void append_old(std::string& out, std::string_view name, int64_t number) {
  if (number != 0) out.append(name).append(":").append(std::to_string(number)).append(" ");
}

void append_old_flag(std::string& out, std::string_view name, bool flag) {
  if (flag) out.append(name).append(":true ");
}

void append_put(std::string& out, const etcdserverpb::PutRequest& put) {
  append_old(out, "key", put.key());
  append_old(out, "value_size", static_cast<int64_t>(put.value().size()));
  append_old(out, "lease", put.lease());
  append_old_flag(out, "prev_kv", put.prev_kv());
  append_old_flag(out, "ignore_value", put.ignore_value());
  append_old_flag(out, "ignore_lease", put.ignore_lease());
}

template <class Enum>
void append_old_enum(std::string& out, std::string_view name, int number, const Enum& name_of) {
  if (number == 0) return;
  const std::string& known = name_of(number);
  out.append(name).append(":").append(known.empty() ? std::to_string(number) : known).append(" ");
}

void append_compare(std::string& out, const etcdserverpb::Compare& compare) {
  using etcdserverpb::Compare;
  if (compare.target_union_case() != Compare::kValue) return append_message(out, compare);
  append_old_enum(out, "result", compare.result(), [](int n) { return Compare::CompareResult_Name(n); });
  append_old_enum(out, "target", compare.target(), [](int n) { return Compare::CompareTarget_Name(n); });
  append_old(out, "key", compare.key());
  append_old(out, "value_size", static_cast<int64_t>(compare.value().size()));
  append_old(out, "range_end", compare.range_end());
}

void append_txn(std::string& out, const etcdserverpb::TxnRequest& txn);

void append_op(std::string& out, const etcdserverpb::RequestOp& op) {
  if (op.has_request_put()) {
    out += "request_put:<";
    append_put(out, op.request_put());
    out += '>';
  } else if (op.has_request_txn()) {
    out += "request_txn:<";
    append_txn(out, op.request_txn());
    out += '>';
  } else {
    append_message(out, op);
  }
}

template <class List, class Append>
void append_list(std::string& out, std::string_view name, const List& list, const Append& append) {
  out.append(name).append(":<");
  bool first = true;
  for (const auto& item : list) {
    if (!std::exchange(first, false)) out += ' ';
    append(out, item);
  }
  out += '>';
}

void append_txn(std::string& out, const etcdserverpb::TxnRequest& txn) {
  append_list(out, "compare", txn.compare(), append_compare);
  append_list(out, " success", txn.success(), append_op);
  append_list(out, " failure", txn.failure(), append_op);
}

// Go's %016x of a signed number.
std::string lease_id_text(int64_t id) {
  std::string out(id < 0 ? "-" : "");
  append_hex(out, id < 0 ? 0 - static_cast<uint64_t>(id) : static_cast<uint64_t>(id), id < 0 ? 15 : 16);
  return out;
}

}  // namespace

std::string message_text(const Message& message) {
  std::string out;
  append_message(out, message);
  return out;
}

std::string put_text(std::string_view body) {
  etcdserverpb::PutRequest put;
  std::string out;
  if (read(body, &put)) append_put(out, put);
  return out;
}

std::string txn_text(std::string_view body) {
  etcdserverpb::TxnRequest txn;
  std::string out;
  if (read(body, &txn)) append_txn(out, txn);
  return out;
}

std::string entry_text(std::string_view entry) {
  etcdserverpb::InternalRaftRequest request;
  if (!read(entry, &request)) return {};
  std::string out = "header:<";
  append_message(out, request.header());
  out += "> ";
  if (request.has_lease_grant()) {
    return out + "lease_grant:<ttl:" + std::to_string(request.lease_grant().ttl()) +
           "-second id:" + lease_id_text(request.lease_grant().id()) + ">";
  }
  if (request.has_lease_revoke()) return out + "lease_revoke:<id:" + lease_id_text(request.lease_revoke().id()) + ">";
  if (request.has_authenticate()) {
    return out + "authenticate:<name:" + request.authenticate().name() +
           " simple_token:" + request.authenticate().simple_token() + ">";
  }
  if (request.has_auth_user_add()) return out + "auth_user_add:<name:" + request.auth_user_add().name() + ">";
  if (request.has_auth_user_change_password()) {
    return out + "auth_user_change_password:<name:" + request.auth_user_change_password().name() + ">";
  }
  if (request.has_put()) {
    out += "put:<";
    append_put(out, request.put());
    return out + ">";
  }
  if (request.has_txn()) {
    out += "txn:<";
    append_txn(out, request.txn());
    return out + ">";
  }
  return message_text(request);
}

std::string_view internal_error_text(const base::Status& status) {
  struct Pair {
    std::string_view outside, inside;
  };
  static constexpr std::array kOtherWords{
      Pair{"etcdserver: mvcc: database space exceeded", "etcdserver: no space"},
      Pair{"etcdserver: requested lease not found", "lease not found"},
      Pair{"etcdserver: lease already exists", "lease already exists"},
      Pair{"etcdserver: too large lease TTL", "too large lease TTL"},
  };
  const std::string_view text = status.text();
  for (const Pair& pair : kOtherWords) {
    if (text == pair.outside) return pair.inside;
  }
  constexpr std::string_view kStore = "etcdserver: mvcc: ", kOutside = "etcdserver: ";
  return text.starts_with(kStore) ? text.substr(kOutside.size()) : text;
}

}  // namespace server
