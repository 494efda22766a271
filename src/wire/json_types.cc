#include <google/protobuf/descriptor.h>

#include "base/verify.h"
#include "wire/json.h"

namespace wire {

namespace pb = google::protobuf;

namespace {

JsonKind kind_of(const pb::FieldDescriptor& field) {
  switch (field.type()) {
    case pb::FieldDescriptor::TYPE_BOOL:
      return JsonKind::kBool;
    case pb::FieldDescriptor::TYPE_INT32:
      return JsonKind::kInt32;
    case pb::FieldDescriptor::TYPE_INT64:
      return JsonKind::kInt64;
    case pb::FieldDescriptor::TYPE_UINT32:
      return JsonKind::kUint32;
    case pb::FieldDescriptor::TYPE_UINT64:
      return JsonKind::kUint64;
    case pb::FieldDescriptor::TYPE_STRING:
      return JsonKind::kString;
    case pb::FieldDescriptor::TYPE_BYTES:
      return JsonKind::kBytes;
    case pb::FieldDescriptor::TYPE_ENUM:
      return JsonKind::kEnum;
    default:
      VERIFY(field.type() == pb::FieldDescriptor::TYPE_MESSAGE && !field.is_map());
      return JsonKind::kMessage;
  }
}

}  // namespace

const JsonField* JsonType::find(std::string_view json_or_proto_name) const {
  for (const JsonField& field : fields) {
    if (field.json_name == json_or_proto_name) return &field;
  }
  for (const JsonField& field : fields) {
    if (field.name == json_or_proto_name) return &field;
  }
  return nullptr;
}

const JsonField* JsonType::find(uint32_t number) const {
  for (const JsonField& field : fields) {
    if (field.number == number) return &field;
  }
  return nullptr;
}

JsonTypes::JsonTypes() = default;
JsonTypes::~JsonTypes() = default;

const JsonType& JsonTypes::get(const pb::Descriptor& descriptor) {
  std::unique_ptr<JsonType>& slot = types_[descriptor.full_name()];
  if (slot) return *slot;  // Perhaps still being filled: messages may contain themselves.
  slot = std::make_unique<JsonType>();
  JsonType& type = *slot;
  type.name = descriptor.full_name();
  type.fields.resize(static_cast<size_t>(descriptor.field_count()));
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const pb::FieldDescriptor& from = *descriptor.field(i);
    JsonField& field = type.fields[static_cast<size_t>(i)];
    field.name = from.name();
    field.json_name = from.json_name();
    field.out_name = '"' + from.name() + "\":";
    field.number = static_cast<uint32_t>(from.number());
    field.kind = kind_of(from);
    field.repeated = from.is_repeated();
    field.presence = from.has_presence();
    if (const pb::OneofDescriptor* oneof = from.containing_oneof()) {
      field.oneof = oneof->index();
      field.oneof_name = oneof->full_name();
    }
    if (field.kind == JsonKind::kMessage) field.message = &get(*from.message_type());
    if (field.kind == JsonKind::kEnum) field.enumeration = &get(*from.enum_type());
  }
  return type;
}

const JsonEnum& JsonTypes::get(const pb::EnumDescriptor& descriptor) {
  std::unique_ptr<JsonEnum>& slot = enums_[descriptor.full_name()];
  if (slot) return *slot;
  slot = std::make_unique<JsonEnum>();
  for (int i = 0; i < descriptor.value_count(); ++i) {
    const pb::EnumValueDescriptor& value = *descriptor.value(i);
    slot->numbers.emplace(value.name(), value.number());
    slot->names.emplace(value.number(), value.name());
  }
  return *slot;
}

}  // namespace wire
