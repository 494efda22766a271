// Messages as JSON.
#include <algorithm>
#include <array>
#include <charconv>

#include "wire/json.h"
#include "wire/reader.h"
#include "wire/utf8.h"

namespace wire {

using base::Code;
using base::Status;

namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

Status not_a_message() { return Status(Code::kInternal, "proto: cannot parse invalid wire-format data"); }

void append_base64(std::string_view bytes, std::string* json) {
  const size_t at = json->size();
  json->resize(at + (bytes.size() + 2) / 3 * 4 + 2);
  char* to = json->data() + at;
  *to++ = '"';
  const auto* from = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t left = bytes.size();
  for (; left >= 3; left -= 3, from += 3) {
    const uint32_t bits = uint32_t{from[0]} << 16 | uint32_t{from[1]} << 8 | from[2];
    *to++ = kBase64Digits[bits >> 18];
    *to++ = kBase64Digits[bits >> 12 & 63];
    *to++ = kBase64Digits[bits >> 6 & 63];
    *to++ = kBase64Digits[bits & 63];
  }
  if (left > 0) {
    const uint32_t bits = uint32_t{from[0]} << 16 | (left == 2 ? uint32_t{from[1]} << 8 : 0);
    *to++ = kBase64Digits[bits >> 18];
    *to++ = kBase64Digits[bits >> 12 & 63];
    *to++ = left == 2 ? kBase64Digits[bits >> 6 & 63] : '=';
    *to++ = '=';
  }
  *to = '"';
}

template <class Integer>
void append_number(Integer value, bool quoted, std::string* json) {
  std::array<char, 24> text;
  char* to = text.data();
  if (quoted) *to++ = '"';
  to = std::to_chars(to, text.data() + text.size() - 1, value).ptr;
  if (quoted) *to++ = '"';
  json->append(text.data(), static_cast<size_t>(to - text.data()));
}

void append_escape(uint32_t code, std::string* json) {
  json->append("\\u");
  for (int shift = 12; shift >= 0; shift -= 4) json->push_back(kHexDigits[code >> shift & 15]);
}

void append_special(char c, std::string* json) {
  constexpr std::string_view kNamed = "\b\f\n\r\t\"\\";
  constexpr std::string_view kNames = "bfnrt\"\\";
  const size_t named = kNamed.find(c);
  if (named == std::string_view::npos) return append_escape(static_cast<uint8_t>(c), json);
  json->push_back('\\');
  json->push_back(kNames[named]);
}

bool is_varint(JsonKind kind) { return kind != JsonKind::kString && kind != JsonKind::kBytes && kind != JsonKind::kMessage; }

// Prints the fields of one message; what stands around them is the caller's.
class FieldPrinter {
 public:
  FieldPrinter(const JsonType& type, JsonStyle style, int depth_left, std::string* json)
      : type_(type), style_(style), depth_left_(depth_left), json_(json) {}

  // Goes on after fields printed before: the list under way and whether there were any.
  const JsonField* open = nullptr;
  bool any = false;

  bool print(std::string_view message) {
    Reader reader(message, 1);
    uint32_t tag = 0;
    while (reader.next(&tag)) {
      const JsonField* field = type_.find(tag >> 3);
      const auto wire_type = static_cast<WireType>(tag & 7);
      if (field == nullptr) {
        reader.skip(tag);
      } else if (wire_type == WireType::kBytes && is_varint(field->kind) && field->repeated) {
        Reader packed(reader.take_bytes(), 0);
        while (reader.ok() && packed.more()) {
          const uint64_t value = packed.take_varint();
          if (!packed.ok()) return false;
          print_varint(*field, value);
        }
      } else if (wire_type == WireType::kVarint && is_varint(field->kind)) {
        const uint64_t value = reader.take_varint();
        if (reader.ok()) print_varint(*field, value);
      } else if (wire_type == WireType::kBytes && !is_varint(field->kind)) {
        const std::string_view bytes = reader.take_bytes();
        if (reader.ok() && !print_bytes(*field, bytes)) return false;
      } else {
        reader.skip(tag);
      }
    }
    return reader.ok();
  }

  void close_list() {
    if (open != nullptr) json_->push_back(']');
    open = nullptr;
  }

 private:
  void begin(const JsonField& field) {
    if (open == &field) {
      json_->push_back(',');
      return;
    }
    close_list();
    if (any) json_->push_back(',');
    any = true;
    json_->append(field.out_name);
    if (!field.repeated) return;
    json_->push_back('[');
    open = &field;
  }

  void print_varint(const JsonField& field, uint64_t value) {
    if (value == 0 && !field.repeated && !field.presence) return;
    begin(field);
    switch (field.kind) {
      case JsonKind::kBool:
        json_->append(value != 0 ? "true" : "false");
        break;
      case JsonKind::kInt32:
        append_number(static_cast<int32_t>(value), false, json_);
        break;
      case JsonKind::kInt64:
        append_number(static_cast<int64_t>(value), true, json_);
        break;
      case JsonKind::kUint32:
        append_number(static_cast<uint32_t>(value), false, json_);
        break;
      case JsonKind::kEnum: {
        const auto number = static_cast<int32_t>(value);
        const auto name = field.enumeration->names.find(number);
        if (name == field.enumeration->names.end()) {
          append_number(number, false, json_);
        } else {
          json_->append("\"").append(name->second).append("\"");
        }
        break;
      }
      default:
        append_number(value, true, json_);
    }
  }

  bool print_bytes(const JsonField& field, std::string_view bytes) {
    if (bytes.empty() && !field.repeated && !field.presence) return true;
    begin(field);
    if (field.kind == JsonKind::kBytes) {
      append_base64(bytes, json_);
      return true;
    }
    if (field.kind == JsonKind::kString) return append_json_string(bytes, style_, json_);
    if (depth_left_ == 0) return false;
    return print_message(bytes, *field.message, style_, depth_left_ - 1, json_);
  }

  static bool in_order(std::string_view message, const JsonType& type) {
    Reader reader(message, 1);
    const JsonField* last = nullptr;
    uint32_t tag = 0;
    while (reader.next(&tag)) {
      const JsonField* field = type.find(tag >> 3);
      reader.skip(tag);
      if (field == nullptr) continue;
      if (last != nullptr && field < last) return false;
      if (last == field && !field->repeated) return false;
      last = field;
    }
    return true;
  }

  // The fields in the order of their declaration; of one that is there twice but is no list the last.
  static std::string sorted(std::string_view message, const JsonType& type) {
    struct Part {
      const JsonField* field;
      std::string_view bytes;  // with the tag
    };
    std::vector<Part> parts;
    Reader reader(message, 1);
    uint32_t tag = 0;
    for (size_t from = 0; reader.next(&tag);) {
      reader.skip(tag);
      if (!reader.ok()) return std::string(message);  // print() will find it.
      const size_t to = message.size() - reader.left();
      if (const JsonField* field = type.find(tag >> 3)) parts.push_back({field, message.substr(from, to - from)});
      from = to;
    }
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
      return a.field != b.field ? a.field < b.field : a.bytes.data() < b.bytes.data();
    });
    std::string out;
    out.reserve(message.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool again = i + 1 < parts.size() && parts[i + 1].field == parts[i].field && !parts[i].field->repeated;
      if (!again) out += parts[i].bytes;
    }
    return out;
  }

 public:
  static bool print_message(std::string_view message, const JsonType& type, JsonStyle style, int depth_left,
                            std::string* json) {
    std::string ordered;
    if (!in_order(message, type)) {
      ordered = sorted(message, type);
      message = ordered;
    }
    json->push_back('{');
    FieldPrinter printer(type, style, depth_left, json);
    if (!printer.print(message)) return false;
    printer.close_list();
    json->push_back('}');
    return true;
  }

 private:
  const JsonType& type_;
  const JsonStyle style_;
  const int depth_left_;
  std::string* const json_;
};

}  // namespace

bool append_json_string(std::string_view text, JsonStyle style, std::string* json) {
  if (!valid_utf8(text)) return false;
  json->push_back('"');
  size_t plain = 0;  // from here on nothing had to be changed
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool special = static_cast<uint8_t>(c) < ' ' || c == '"' || c == '\\';
    const bool html = style.escape_html && (c == '<' || c == '>' || c == '&');
    const bool separator = style.escape_html && c == '\xe2' && (text.substr(i, 3) == "\u2028" || text.substr(i, 3) == "\u2029");
    if (!special && !html && !separator) continue;
    json->append(text.substr(plain, i - plain));
    if (special) {
      append_special(c, json);
    } else {
      append_escape(html ? static_cast<uint8_t>(c) : text[i + 2] == '\xa8' ? 0x2028 : 0x2029, json);
    }
    if (separator) i += 2;
    plain = i + 1;
  }
  json->append(text.substr(plain));
  json->push_back('"');
  return true;
}

Status message_to_json(std::string_view message, const JsonType& type, JsonStyle style, std::string* json) {
  json->reserve(json->size() + message.size() + message.size() / 2 + 64);
  return FieldPrinter::print_message(message, type, style, kJsonOutDepthMax, json) ? Status() : not_a_message();
}

Status JsonWriter::fields(std::string_view whole, std::string* json) {
  if (!std::exchange(begun_, true)) json->push_back('{');
  FieldPrinter printer(type_, style_, kJsonOutDepthMax - 1, json);
  printer.open = open_;
  printer.any = any_;
  if (!printer.print(whole)) return not_a_message();
  open_ = printer.open;
  any_ = printer.any;
  return Status();
}

Status JsonWriter::write(std::string_view piece, std::string* json) {
  rest_ += piece;
  Reader reader(rest_, 1);
  size_t whole = 0;
  uint32_t tag = 0;
  while (reader.next(&tag)) {
    reader.skip(tag);
    if (reader.ok()) whole = rest_.size() - reader.left();
  }
  Status status = fields(std::string_view(rest_).substr(0, whole), json);
  rest_.erase(0, whole);
  return status;
}

Status JsonWriter::finish(std::string* json) {
  if (!rest_.empty()) return not_a_message();
  if (!std::exchange(begun_, true)) json->push_back('{');
  json->append(open_ != nullptr ? "]}" : "}");
  return Status();
}

}  // namespace wire
