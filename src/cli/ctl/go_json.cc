#include "cli/ctl/go_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "base/bytes.h"
#include "base/utf8.h"
#include "base/verify.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The value of a field, of element `index` if it is repeated.
std::string value_text(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection& read = *message.GetReflection();
  const bool repeated = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(repeated ? read.GetRepeatedInt32(message, field, index) : read.GetInt32(message, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(repeated ? read.GetRepeatedInt64(message, field, index) : read.GetInt64(message, field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(repeated ? read.GetRepeatedUInt32(message, field, index) : read.GetUInt32(message, field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(repeated ? read.GetRepeatedUInt64(message, field, index) : read.GetUInt64(message, field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (repeated ? read.GetRepeatedBool(message, field, index) : read.GetBool(message, field)) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return std::to_string(repeated ? read.GetRepeatedEnumValue(message, field, index) : read.GetEnumValue(message, field));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text =
          repeated ? read.GetRepeatedString(message, field, index) : read.GetString(message, field);
      return field->type() == FieldDescriptor::TYPE_BYTES ? "\"" + base::base64_encode(text) + "\"" : json_string(text);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return json_object(repeated ? read.GetRepeatedMessage(message, field, index) : read.GetMessage(message, field));
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE: break;
  }
  VERIFY(false);  // etcd's API has no other types
  return {};
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const base::Rune rune = base::decode_rune(text);
    const char c = text[0];
    if (!rune.valid) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (rune.value == '\b') {
      out += "\\b";
    } else if (rune.value == '\f') {
      out += "\\f";
    } else if (rune.value == '\n') {
      out += "\\n";
    } else if (rune.value == '\r') {
      out += "\\r";
    } else if (rune.value == '\t') {
      out += "\\t";
    } else if (rune.value < 0x20 || c == '<' || c == '>' || c == '&' || rune.value == 0x2028 || rune.value == 0x2029) {
      out += formatted("\\u%04x", rune.value);
    } else {
      out += text.substr(0, rune.bytes);
    }
    text.remove_prefix(rune.bytes);
  }
  return out + "\"";
}

std::string json_object(const Message& message) {
  const auto* descriptor = message.GetDescriptor();
  const Reflection& read = *message.GetReflection();
  std::string out = "{";
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const int size = field->is_repeated() ? read.FieldSize(message, field) : 0;
    if (field->is_repeated() ? size == 0 : !read.HasField(message, field)) continue;
    if (out.size() > 1) out += ',';
    out += json_string(field->name()) + ":";
    if (!field->is_repeated()) {
      out += value_text(message, field, 0);
      continue;
    }
    for (int at = 0; at < size; ++at) out += (at == 0 ? "[" : ",") + value_text(message, field, at);
    out += "]";
  }
  return out + "}";
}

}  // namespace cli::ctl
