// JSON as messages. A document is parsed once more after the scanner let it through: syntax is right here, so commas and
// colons are stepped over like white space, and what can still be wrong is text, types and repetition. Nothing recurses.
#include <array>
#include <bitset>
#include <charconv>

#include "base/flags.h"
#include "base/utf8.h"
#include "base/verify.h"
#include "wire/json.h"
#include "wire/reader.h"

namespace wire {

using base::Code;
using base::Status;

namespace {

constexpr size_t kFieldsMax = 64;  // of a message; more are refused when the tables are used first

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// What may not follow a number or a literal directly.
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' || c == '.' || c == '_';
}

// Bytes of the number that `text` begins with; 0 when it does not. As protobuf-go's, which takes "1e," too.
size_t number_size(std::string_view text) {
  size_t n = 0;
  const auto at = [&](size_t i) { return i < text.size() ? text[i] : '\0'; };
  if (at(n) == '-') ++n;
  if (at(n) == '0') {
    ++n;
  } else if (is_digit(at(n))) {
    while (is_digit(at(n))) ++n;
  } else {
    return 0;
  }
  if (at(n) == '.' && is_digit(at(n + 1))) {
    n += 2;
    while (is_digit(at(n))) ++n;
  }
  if ((at(n) == 'e' || at(n) == 'E') && n + 1 < text.size()) {
    ++n;
    if (at(n) == '+' || at(n) == '-') {
      ++n;
      if (n == text.size()) return 0;
    }
    while (is_digit(at(n))) ++n;
  }
  return n < text.size() && is_word(text[n]) ? 0 : n;
}

// The digits of a number that is whole, whatever its form ("12e1", "1.50e2"): false if it is not or has too many.
bool whole_digits(std::string_view number, bool* negative, std::string* digits) {
  constexpr size_t kDigitsMax = 20;
  *negative = number.starts_with('-');
  if (*negative) number.remove_prefix(1);
  const size_t e = number.find_first_of("eE");
  std::string_view exponent_text = e == std::string_view::npos ? std::string_view() : number.substr(e + 1);
  number = number.substr(0, e);
  const size_t point = number.find('.');
  std::string_view whole = number.substr(0, point);
  std::string_view fraction = point == std::string_view::npos ? std::string_view() : number.substr(point + 1);
  if (whole == "0") whole = {};
  while (fraction.ends_with('0')) fraction.remove_suffix(1);
  if (whole.empty() && fraction.empty()) {
    *negative = false;
    *digits = "0";
    return true;
  }
  int32_t exponent = 0;
  if (exponent_text.starts_with('+')) exponent_text.remove_prefix(1);
  if (!exponent_text.empty()) {
    const auto read = std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
    if (read.ec != std::errc() || read.ptr != exponent_text.data() + exponent_text.size()) return false;
  }
  if (exponent >= 0) {
    const auto shift = static_cast<size_t>(exponent);
    if (fraction.size() > shift || whole.size() + shift > kDigitsMax) return false;
    digits->assign(whole).append(fraction).append(shift - fraction.size(), '0');
    return true;
  }
  const auto shift = static_cast<size_t>(-static_cast<int64_t>(exponent));
  if (!fraction.empty() || shift > whole.size()) return false;
  if (whole.substr(whole.size() - shift).find_first_not_of('0') != std::string_view::npos) return false;
  digits->assign(whole.substr(0, whole.size() - shift));
  return true;
}

template <class Integer>
bool to_integer(std::string_view number, Integer* value) {
  bool negative = false;
  std::string digits;
  if (!whole_digits(number, &negative, &digits)) return false;
  if (negative) digits.insert(digits.begin(), '-');
  const char* const end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, *value);
  return read.ec == std::errc() && read.ptr == end;
}

// Unicode's White_Space at either end: Go's strings.TrimSpace would take something off.
bool has_outer_space(std::string_view text) {
  constexpr std::string_view kSpaces[] = {" ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\u0085",
                                          "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
                                          "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u2028",
                                          "\u2029", "\u202f", "\u205f", "\u3000"};
  for (const std::string_view space : kSpaces) {
    if (text.starts_with(space) || text.ends_with(space)) return true;
  }
  return false;
}

constexpr std::array<uint8_t, 256> make_base64_values(std::string_view last_two) {
  std::array<uint8_t, 256> values{};
  values.fill(0xff);
  uint8_t n = 0;
  for (char c = 'A'; c <= 'Z'; ++c) values[static_cast<uint8_t>(c)] = n++;
  for (char c = 'a'; c <= 'z'; ++c) values[static_cast<uint8_t>(c)] = n++;
  for (char c = '0'; c <= '9'; ++c) values[static_cast<uint8_t>(c)] = n++;
  for (const char c : last_two) values[static_cast<uint8_t>(c)] = n++;
  return values;
}
constexpr auto kStandardBase64 = make_base64_values("+/");
constexpr auto kUrlBase64 = make_base64_values("-_");

// As protojson chooses and Go's encoding/base64 decodes: either alphabet, padded if the length is a multiple of 4, line ends
// skipped, unused bits not looked at.
bool append_base64_decoded(std::string_view text, std::string* out) {
  const auto& values = text.find_first_of("-_") == std::string_view::npos ? kStandardBase64 : kUrlBase64;
  const bool padded = text.size() % 4 == 0;
  out->reserve(out->size() + text.size() / 4 * 3 + 3);
  size_t i = 0;
  for (; i + 4 <= text.size(); i += 4) {
    const uint8_t a = values[static_cast<uint8_t>(text[i])], b = values[static_cast<uint8_t>(text[i + 1])],
                  c = values[static_cast<uint8_t>(text[i + 2])], d = values[static_cast<uint8_t>(text[i + 3])];
    if ((a | b | c | d) & 0x80) break;
    const uint32_t bits = uint32_t{a} << 18 | uint32_t{b} << 12 | uint32_t{c} << 6 | d;
    const char three[3] = {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8), static_cast<char>(bits)};
    out->append(three, 3);
  }
  const auto next_char = [&]() -> int {  // -1 at the end
    while (i < text.size() && (text[i] == '\n' || text[i] == '\r')) ++i;
    return i < text.size() ? static_cast<uint8_t>(text[i++]) : -1;
  };
  uint32_t bits = 0;
  int count = 0;
  for (;;) {
    const int c = next_char();
    if (c < 0) {
      if (count == 1 || (padded && count > 0)) return false;
      break;
    }
    if (values[static_cast<size_t>(c)] != 0xff) {
      bits = bits << 6 | values[static_cast<size_t>(c)];
      if (++count < 4) continue;
      out->push_back(static_cast<char>(bits >> 16));
      out->push_back(static_cast<char>(bits >> 8));
      out->push_back(static_cast<char>(bits));
      bits = 0;
      count = 0;
      continue;
    }
    if (c != '=' || !padded || count < 2) return false;
    if (count == 2 && next_char() != '=') return false;
    if (next_char() >= 0) return false;
    break;
  }
  if (count >= 2) out->push_back(static_cast<char>(bits >> (count == 2 ? 4 : 10)));
  if (count == 3) out->push_back(static_cast<char>(bits >> 2));
  return true;
}

size_t varint_size(uint64_t value) {
  size_t n = 1;
  for (; value >= 0x80; value >>= 7) ++n;
  return n;
}

void append_varint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

struct Token {
  enum class Kind { kNull, kBool, kNumber, kString, kObject, kObjectEnd, kArray, kArrayEnd };
  Kind kind = Kind::kNull;
  size_t at = 0;
  std::string_view raw;
  std::string_view text;  // of a string, unescaped; valid until the next token
};

class JsonParser {
 public:
  explicit JsonParser(std::string_view document) : document_(document) {}

  Status parse(const JsonType& type, std::string* message) {
    Token token;
    if (!read(&token)) return error_;
    if (token.kind != Token::Kind::kObject) return unexpected(token), error_;
    frames_.push_back({&type});
    while (!frames_.empty()) {
      const bool ok = frames_.back().list != nullptr ? list_element() : field();
      if (!ok) return error_;
    }
    assemble(message);
    return Status();
  }

 private:
  struct Frame {
    const JsonType* type;
    std::bitset<kFieldsMax> seen;
    uint32_t seen_oneofs = 0;
    const JsonField* list = nullptr;  // of messages, being read
    size_t slot = 0;                  // 0: the outermost message, which has no length
  };
  // A message inside: its length is known when it ends, and goes in front of it when all is put together.
  struct Slot {
    size_t from, size, lengths;  // in flat_; `lengths`: bytes of the lengths inside it
  };

  // --- tokens

  void skip_to_value() {
    while (at_ < document_.size() && std::string_view(" \t\r\n,:").find(document_[at_]) != std::string_view::npos) ++at_;
  }

  char peek() {
    skip_to_value();
    return at_ < document_.size() ? document_[at_] : '\0';
  }

  bool read(Token* token) {
    const char c = peek();
    token->at = at_;
    size_t size = 1;
    switch (c) {
      case '{':
        token->kind = Token::Kind::kObject;
        break;
      case '}':
        token->kind = Token::Kind::kObjectEnd;
        break;
      case '[':
        token->kind = Token::Kind::kArray;
        break;
      case ']':
        token->kind = Token::Kind::kArrayEnd;
        break;
      case '"':
        return read_string(token);
      case 'n':
        token->kind = Token::Kind::kNull;
        size = 4;
        break;
      case 't':
      case 'f':
        token->kind = Token::Kind::kBool;
        size = c == 't' ? 4 : 5;
        break;
      default:
        token->kind = Token::Kind::kNumber;
        while (at_ + size < document_.size() && is_word(document_[at_ + size])) ++size;
    }
    token->raw = document_.substr(at_, size);
    at_ += size;
    return true;
  }

  bool read_string(Token* token) {
    token->kind = Token::Kind::kString;
    const size_t begin = at_ + 1;
    size_t end = begin;
    uint8_t all = 0;
    while (document_[end] != '"' && document_[end] != '\\') all |= static_cast<uint8_t>(document_[end++]);
    if (document_[end] == '"' && all < 0x80) {
      token->text = document_.substr(begin, end - begin);
    } else if (!unescape(&end)) {
      return false;
    } else {
      token->text = unescaped_;
    }
    token->raw = document_.substr(at_, end + 1 - at_);
    at_ = end + 1;
    return true;
  }

  // From the opening quote at at_ to the closing one, which `end` is left at.
  bool unescape(size_t* end) {
    unescaped_.clear();
    size_t i = at_ + 1;
    while (document_[i] != '"') {
      if (document_[i] == '\\') {
        if (!unescape_one(&i)) return false;
        continue;
      }
      const base::Rune rune = base::decode_rune(document_.substr(i));
      if (!rune.valid) return syntax_error(at_, "invalid UTF-8 in string");
      unescaped_.append(document_.substr(i, rune.bytes));
      i += rune.bytes;
    }
    *end = i;
    return true;
  }

  bool unescape_one(size_t* i) {
    constexpr std::string_view kNames = "bfnrt\"\\/";
    constexpr std::string_view kNamed = "\b\f\n\r\t\"\\/";
    const size_t named = kNames.find(document_[*i + 1]);
    if (named != std::string_view::npos) {
      unescaped_.push_back(kNamed[named]);
      *i += 2;
      return true;
    }
    uint32_t code = 0;
    (void)hex_code(*i, &code);  // The scanner has seen its digits.
    *i += 6;
    if (code >= 0xd800 && code <= 0xdfff) {
      if (document_.size() - *i < 6) return fail("unexpected EOF");
      uint32_t low = 0;
      const bool pair = document_[*i] == '\\' && document_[*i + 1] == 'u' && hex_code(*i, &low) && code < 0xdc00 &&
                        low >= 0xdc00 && low <= 0xdfff;
      if (!pair) {
        return syntax_error(at_, "invalid escape code " + base::flags::quote(document_.substr(*i, 6)) + " in string");
      }
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      *i += 6;
    }
    append_utf8(code);
    return true;
  }

  bool hex_code(size_t i, uint32_t* code) const {
    const char* const from = document_.data() + i + 2;
    const auto read = std::from_chars(from, from + 4, *code, 16);
    return read.ec == std::errc() && read.ptr == from + 4;
  }

  void append_utf8(uint32_t code) {
    const auto put = [&](uint32_t byte) { unescaped_.push_back(static_cast<char>(byte)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
      put(0xc0 | code >> 6);
    } else if (code < 0x10000) {
      put(0xe0 | code >> 12);
      put(0x80 | (code >> 6 & 0x3f));
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
      put(0x80 | (code >> 6 & 0x3f));
    }
    put(0x80 | (code & 0x3f));
  }

  // --- errors; all return false

  bool fail(const std::string& text) {
    error_ = Status(Code::kInvalidArgument, "proto: " + text);
    return false;
  }
  std::string position(size_t at) const {
    const std::string_view before = document_.substr(0, at);
    size_t line = 1, column = 1;
    for (size_t i = 0; i < before.size();) {
      if (before[i] == '\n') {
        ++line;
        column = 1;
        ++i;
      } else {
        i += base::decode_rune(before.substr(i)).bytes;
        ++column;
      }
    }
    return "(line " + std::to_string(line) + ":" + std::to_string(column) + "): ";
  }
  bool error_at(size_t at, const std::string& text) { return fail(position(at) + text); }
  bool syntax_error(size_t at, const std::string& text) { return fail("syntax error " + position(at) + text); }
  bool unexpected(const Token& token) { return syntax_error(token.at, "unexpected token " + std::string(token.raw)); }

  // --- messages

  void open_message(const JsonField& field) {
    append_varint(bytes_tag(field.number), &flat_);
    slots_.push_back({flat_.size(), 0, 0});
    frames_.push_back({field.message});
    frames_.back().slot = slots_.size();
  }

  void close_message() {
    const size_t slot = frames_.back().slot;
    frames_.pop_back();
    if (slot == 0) return;
    Slot& closed = slots_[slot - 1];
    closed.size = flat_.size() - closed.from + closed.lengths;
    if (frames_.back().slot == 0) return;
    slots_[frames_.back().slot - 1].lengths += closed.lengths + varint_size(closed.size);
  }

  void assemble(std::string* message) {
    if (slots_.empty() && message->empty()) {
      message->swap(flat_);
      return;
    }
    size_t from = 0;
    for (const Slot& slot : slots_) {
      message->append(flat_, from, slot.from - from);
      append_varint(slot.size, message);
      from = slot.from;
    }
    message->append(flat_, from);
  }

  bool list_element() {
    Token token;
    if (!read(&token)) return false;
    const JsonField& list = *frames_.back().list;
    if (token.kind == Token::Kind::kArrayEnd) {
      frames_.back().list = nullptr;
    } else if (token.kind == Token::Kind::kObject) {
      open_message(list);
    } else {
      return unexpected(token);
    }
    return true;
  }

  // The next field of the innermost message, or its end.
  bool field() {
    Token name;
    if (!read(&name)) return false;
    if (name.kind == Token::Kind::kObjectEnd) {
      close_message();
      return true;
    }
    Frame& frame = frames_.back();
    const JsonField* const field = frame.type->find(name.text);
    if (field == nullptr) return skip_value();
    const auto index = static_cast<size_t>(field - frame.type->fields.data());
    VERIFY(index < kFieldsMax);
    if (frame.seen[index]) return error_at(name.at, "duplicate field " + std::string(name.raw));
    frame.seen[index] = true;
    if (peek() == 'n') {
      at_ += 4;
      return true;
    }
    if (field->repeated) return list(*field);
    if (field->oneof >= 0) {
      const uint32_t bit = uint32_t{1} << field->oneof;
      if (frame.seen_oneofs & bit) {
        return error_at(name.at, "error parsing " + std::string(name.raw) + ", oneof " + field->oneof_name + " is already set");
      }
      frame.seen_oneofs |= bit;
    }
    if (field->kind != JsonKind::kMessage) return scalar(*field);
    Token token;
    if (!read(&token)) return false;
    if (token.kind != Token::Kind::kObject) return unexpected(token);
    open_message(*field);
    return true;
  }

  bool list(const JsonField& field) {
    Token token;
    if (!read(&token)) return false;
    if (token.kind != Token::Kind::kArray) return unexpected(token);
    if (field.kind == JsonKind::kMessage) {
      frames_.back().list = &field;
      return true;
    }
    while (peek() != ']') {
      if (!scalar(field)) return false;
    }
    ++at_;
    return true;
  }

  bool skip_value() {
    size_t open = 0;
    do {
      Token token;
      if (!read(&token)) return false;
      if (token.kind == Token::Kind::kObject || token.kind == Token::Kind::kArray) ++open;
      if (token.kind == Token::Kind::kObjectEnd || token.kind == Token::Kind::kArrayEnd) --open;
    } while (open > 0);
    return true;
  }

  // --- values

  bool scalar(const JsonField& field) {
    Token token;
    if (!read(&token)) return false;
    if (put_scalar(field, token)) return true;
    constexpr std::string_view kNames[] = {"bool", "int32", "int64", "uint32", "uint64", "string", "bytes", "enum", "message"};
    return error_at(token.at, "invalid value for " + std::string(kNames[static_cast<size_t>(field.kind)]) + " field " +
                                  field.json_name + ": " + std::string(token.raw));
  }

  bool put_scalar(const JsonField& field, const Token& token) {
    switch (field.kind) {
      case JsonKind::kBool:
        if (token.kind != Token::Kind::kBool) return false;
        put_varint(field, token.raw == "true");
        return true;
      case JsonKind::kInt32:
        return put_integer<int32_t>(field, token);
      case JsonKind::kInt64:
        return put_integer<int64_t>(field, token);
      case JsonKind::kUint32:
        return put_integer<uint32_t>(field, token);
      case JsonKind::kUint64:
        return put_integer<uint64_t>(field, token);
      case JsonKind::kString:
        if (token.kind != Token::Kind::kString) return false;
        put_bytes(field, token.text);
        return true;
      case JsonKind::kBytes:
        decoded_.clear();
        if (token.kind != Token::Kind::kString || !append_base64_decoded(token.text, &decoded_)) return false;
        put_bytes(field, decoded_);
        return true;
      case JsonKind::kEnum:
        return put_enum(field, token);
      case JsonKind::kMessage:
        break;
    }
    return false;
  }

  template <class Integer>
  bool put_integer(const JsonField& field, const Token& token) {
    std::string_view number = token.raw;
    if (token.kind == Token::Kind::kString) {  // What follows a number in quotes is not looked at, as in protobuf-go.
      if (has_outer_space(token.text)) return false;
      number = token.text.substr(0, number_size(token.text));
    } else if (token.kind != Token::Kind::kNumber) {
      return false;
    }
    Integer value = 0;
    if (number.empty() || !to_integer(number, &value)) return false;
    using Wide = std::conditional_t<std::is_signed_v<Integer>, int64_t, uint64_t>;
    put_varint(field, static_cast<uint64_t>(static_cast<Wide>(value)));
    return true;
  }

  bool put_enum(const JsonField& field, const Token& token) {
    int32_t value = 0;
    if (token.kind == Token::Kind::kString) {
      const auto named = field.enumeration->numbers.find(token.text);
      if (named == field.enumeration->numbers.end()) return true;  // Ignored, like an unknown field.
      value = named->second;
    } else if (token.kind != Token::Kind::kNumber || !to_integer(token.raw, &value)) {
      return false;
    }
    put_varint(field, static_cast<uint64_t>(int64_t{value}));
    return true;
  }

  void put_varint(const JsonField& field, uint64_t value) {
    if (value == 0 && !field.repeated && !field.presence) return;
    append_varint(varint_tag(field.number), &flat_);
    append_varint(value, &flat_);
  }

  void put_bytes(const JsonField& field, std::string_view bytes) {
    if (bytes.empty() && !field.repeated && !field.presence) return;
    append_varint(bytes_tag(field.number), &flat_);
    append_varint(bytes.size(), &flat_);
    flat_.append(bytes);
  }

  const std::string_view document_;
  size_t at_ = 0;
  std::vector<Frame> frames_;
  std::vector<Slot> slots_;  // in order of `from`
  std::string flat_;         // the message without the lengths of those inside
  std::string unescaped_, decoded_;
  Status error_;
};

}  // namespace

Status json_to_message(std::string_view document, const JsonType& type, std::string* message) {
  return JsonParser(document).parse(type, message);
}

// --- JsonDocuments
// ------------------------------------------------------------------------------------------------------------

void JsonDocuments::append(std::string_view bytes) {
  if (begin_ > 0) {
    buffer_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  buffer_ += bytes;
}

JsonDocuments::Got JsonDocuments::next(std::string_view* document) {
  if (!error_.empty()) return Got::kError;
  std::string_view input = std::string_view(buffer_).substr(scanned_);
  JsonScanner::Got got = scanner_.scan(&input);
  scanned_ = buffer_.size() - input.size();
  if (got == JsonScanner::Got::kMore && ended_) got = scanner_.finish();
  switch (got) {
    case JsonScanner::Got::kDocument: {
      std::string_view whole = std::string_view(buffer_).substr(begin_, scanned_ - begin_);
      whole.remove_prefix(whole.find_first_not_of(" \t\r\n"));
      begin_ = scanned_;
      *document = whole;
      return Got::kDocument;
    }
    case JsonScanner::Got::kError:
      return Got::kError;
    default:
      if (!scanner_.inside()) begin_ = scanned_;
      if (scanned_ - begin_ <= bytes_max_) return ended_ ? Got::kEnd : Got::kMore;
      error_ = "the JSON document is larger than " + std::to_string(bytes_max_) + " bytes";
      return Got::kError;
  }
}

}  // namespace wire
