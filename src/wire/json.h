// JSON to protobuf bytes and back, without message objects between: what grpc-gateway does with Go's protojson as etcd
// configures it. Out: names of the .proto, 64-bit integers as strings, bytes in base64, enums by name, zeros left out, no
// white space. In: both forms of names, integers as numbers or strings, both base64 alphabets, enums by name or number;
// unknown fields and enum names are ignored, null is nothing. Pure; tables are built once and then read from any thread.
// Source: protobuf-go encoding/protojson, internal/encoding/json (its error texts too).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "wire/json_scanner.h"

namespace google::protobuf {
class Descriptor;
class EnumDescriptor;
}  // namespace google::protobuf

namespace wire {

struct JsonType;

enum class JsonKind : uint8_t { kBool, kInt32, kInt64, kUint32, kUint64, kString, kBytes, kEnum, kMessage };

struct JsonEnum {
  std::map<std::string, int32_t, std::less<>> numbers;
  std::map<int32_t, std::string> names;  // of an alias the first
};

struct JsonField {
  std::string name, json_name;
  std::string out_name;  // `"name":`
  uint32_t number = 0;
  JsonKind kind = JsonKind::kBool;
  bool repeated = false;
  bool presence = false;  // zero is a value: message fields, members of a oneof
  int oneof = -1;
  std::string oneof_name;                 // with package and message
  const JsonType* message = nullptr;      // kMessage
  const JsonEnum* enumeration = nullptr;  // kEnum
};

struct JsonType {
  std::string name;
  std::vector<JsonField> fields;  // in the order they are printed: as declared
  // Null when unknown.
  const JsonField* find(std::string_view json_or_proto_name) const;
  const JsonField* find(uint32_t number) const;
};

// The tables, made from the descriptors of the generated messages.
class JsonTypes {
 public:
  JsonTypes();
  ~JsonTypes();
  JsonTypes(const JsonTypes&) = delete;
  JsonTypes& operator=(const JsonTypes&) = delete;
  // The tables of a message and of all that it contains. REQUIRES: no maps, floats and fixed-width numbers.
  const JsonType& get(const google::protobuf::Descriptor& descriptor);

 private:
  const JsonEnum& get(const google::protobuf::EnumDescriptor& descriptor);
  std::map<std::string, std::unique_ptr<JsonType>> types_;
  std::map<std::string, std::unique_ptr<JsonEnum>> enums_;
};

// Appends the message that `document` stands for. REQUIRES: `document` is one whole value that a JsonScanner let through,
// without white space before it. kInvalidArgument: `proto: (line 1:8): invalid value for bytes field key: 5`.
base::Status json_to_message(std::string_view document, const JsonType& type, std::string* message);

struct JsonStyle {
  bool escape_html = false;  // <, >, & and two line separators as \uXXXX, as in the messages of a stream
};
// Appends `message` as JSON. kInternal when it is not one, or nests deeper than kJsonOutDepthMax.
base::Status message_to_json(std::string_view message, const JsonType& type, JsonStyle style, std::string* json);
inline constexpr int kJsonOutDepthMax = 400;

// The same for a message that comes in pieces: what of it is known is printed at once, and only a field of the message that
// is not whole yet is kept. REQUIRES: fields come in the order of their declaration.
class JsonWriter {
 public:
  explicit JsonWriter(const JsonType& type, JsonStyle style = {}) : type_(type), style_(style) {}
  base::Status write(std::string_view piece, std::string* json);
  base::Status finish(std::string* json);

 private:
  base::Status fields(std::string_view whole, std::string* json);
  const JsonType& type_;
  const JsonStyle style_;
  std::string rest_;
  const JsonField* open_ = nullptr;  // the list being printed
  bool begun_ = false;
  bool any_ = false;
};

// `"text"`; false when `text` is not UTF-8 (what was appended is then of no use).
bool append_json_string(std::string_view text, JsonStyle style, std::string* json);

// Documents one after the other out of bytes that come in pieces.
class JsonDocuments {
 public:
  enum class Got { kMore, kDocument, kEnd, kError };
  // An unfinished document of more than `bytes_max` is an error.
  explicit JsonDocuments(size_t bytes_max) : bytes_max_(bytes_max) {}
  void append(std::string_view bytes);
  void end() { ended_ = true; }
  // kDocument: `document` views it until the next call here. kEnd: end() was called and nothing is left.
  Got next(std::string_view* document);
  const std::string& error() const { return error_.empty() ? scanner_.error() : error_; }

 private:
  const size_t bytes_max_;
  JsonScanner scanner_;
  std::string buffer_;
  size_t begin_ = 0;    // of the document in buffer_
  size_t scanned_ = 0;  // up to here
  bool ended_ = false;
  std::string error_;
};

}  // namespace wire
