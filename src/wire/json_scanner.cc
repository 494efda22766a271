#include "wire/json_scanner.h"

#include "base/flags.h"

namespace wire {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// The byte as Go prints it: taken for a Latin-1 character, in single quotes.
std::string quote_char(char c) {
  if (c == '\'') return "'\\''";
  if (c == '"') return "'\"'";
  const auto byte = static_cast<uint8_t>(c);
  std::string text;
  if (byte < 0x80) {
    text = c;
  } else {
    text = {static_cast<char>(0xc0 | byte >> 6), static_cast<char>(0x80 | (byte & 0x3f))};
  }
  const std::string quoted = base::flags::quote(text);
  return "'" + quoted.substr(1, quoted.size() - 2) + "'";
}

}  // namespace

JsonScanner::Got JsonScanner::scan(std::string_view* input) {
  if (step_ == Step::kFailed) return Got::kError;
  const char* at = input->data();
  const char* const end = at + input->size();
  while (at != end) {
    if (step_ == Step::kInString) {  // The long part of most documents.
      while (at != end && *at != '"' && *at != '\\' && static_cast<uint8_t>(*at) >= ' ') ++at;
      if (at == end) break;
    }
    const bool taken = take(*at);
    if (taken) ++at;
    if (!taken || complete_) {
      input->remove_prefix(static_cast<size_t>(at - input->data()));
      if (step_ == Step::kFailed) return Got::kError;
      step_ = Step::kBeginValue;
      inside_ = complete_ = false;
      return Got::kDocument;
    }
  }
  input->remove_prefix(input->size());
  return Got::kMore;
}

JsonScanner::Got JsonScanner::finish() {
  if (step_ == Step::kFailed) return Got::kError;
  if (!inside_) return Got::kMore;
  if (!take(' ') && step_ != Step::kFailed) {
    step_ = Step::kBeginValue;
    inside_ = complete_ = false;
    return Got::kDocument;
  }
  step_ = Step::kFailed;
  error_ = "unexpected EOF";
  return Got::kError;
}

bool JsonScanner::fail(char c, std::string_view where) {
  step_ = Step::kFailed;
  error_ = "invalid character " + quote_char(c) + " ";
  error_ += where;
  return false;
}

bool JsonScanner::open(Open what, Step step, char c) {
  if (open_.size() >= kJsonDepthMax) return fail(c, "exceeded max depth");
  open_.push_back(what);
  step_ = step;
  return true;
}

bool JsonScanner::close() {
  open_.pop_back();
  step_ = Step::kEndValue;
  complete_ = open_.empty();
  return true;
}

bool JsonScanner::begin_value(char c) {
  inside_ = true;
  switch (c) {
    case '{':
      return open(kObjectKey, Step::kBeginStringOrEnd, c);
    case '[':
      return open(kArrayValue, Step::kBeginValueOrEnd, c);
    case '"':
      step_ = Step::kInString;
      return true;
    case '-':
      step_ = Step::kMinus;
      return true;
    case '0':
      step_ = Step::kZero;
      return true;
    case 't':
      literal_name_ = "true";
      break;
    case 'f':
      literal_name_ = "false";
      break;
    case 'n':
      literal_name_ = "null";
      break;
    default:
      if (!is_digit(c)) return fail(c, "looking for beginning of value");
      step_ = Step::kDigits;
      return true;
  }
  literal_ = literal_name_ + 1;
  step_ = Step::kLiteral;
  return true;
}

bool JsonScanner::end_value(char c) {
  if (open_.empty()) return false;
  step_ = Step::kEndValue;
  if (is_space(c)) return true;
  switch (open_.back()) {
    case kObjectKey:
      if (c != ':') return fail(c, "after object key");
      open_.back() = kObjectValue;
      step_ = Step::kBeginValue;
      return true;
    case kObjectValue:
      if (c == '}') return close();
      if (c != ',') return fail(c, "after object key:value pair");
      open_.back() = kObjectKey;
      step_ = Step::kBeginString;
      return true;
    default:
      if (c == ']') return close();
      if (c != ',') return fail(c, "after array element");
      step_ = Step::kBeginValue;
      return true;
  }
}

bool JsonScanner::take(char c) {
  switch (step_) {
    case Step::kBeginValueOrEnd:
      if (is_space(c)) return true;
      return c == ']' ? end_value(c) : begin_value(c);
    case Step::kBeginValue:
      return is_space(c) || begin_value(c);
    case Step::kBeginStringOrEnd:
      if (is_space(c)) return true;
      if (c == '}') return close();
      [[fallthrough]];
    case Step::kBeginString:
      if (is_space(c)) return true;
      if (c != '"') return fail(c, "looking for beginning of object key string");
      step_ = Step::kInString;
      return true;
    case Step::kEndValue:
      return end_value(c);
    case Step::kInString:
      if (c == '"') {
        step_ = Step::kEndValue;
      } else if (c == '\\') {
        step_ = Step::kEscape;
      } else if (static_cast<uint8_t>(c) < ' ') {
        return fail(c, "in string literal");
      }
      return true;
    case Step::kEscape:
      if (c == 'u') {
        hex_left_ = 4;
        step_ = Step::kEscapeHex;
        return true;
      }
      if (std::string_view("bfnrt\\/\"").find(c) == std::string_view::npos) return fail(c, "in string escape code");
      step_ = Step::kInString;
      return true;
    case Step::kEscapeHex:
      if (!is_hex(c)) return fail(c, "in \\u hexadecimal character escape");
      if (--hex_left_ == 0) step_ = Step::kInString;
      return true;
    case Step::kMinus:
      if (!is_digit(c)) return fail(c, "in numeric literal");
      step_ = c == '0' ? Step::kZero : Step::kDigits;
      return true;
    case Step::kDigits:
      if (is_digit(c)) return true;
      [[fallthrough]];
    case Step::kZero:
      if (c == '.') {
        step_ = Step::kPoint;
      } else if (c == 'e' || c == 'E') {
        step_ = Step::kExponent;
      } else {
        return end_value(c);
      }
      return true;
    case Step::kPoint:
      if (!is_digit(c)) return fail(c, "after decimal point in numeric literal");
      step_ = Step::kFraction;
      return true;
    case Step::kFraction:
      if (is_digit(c)) return true;
      if (c != 'e' && c != 'E') return end_value(c);
      step_ = Step::kExponent;
      return true;
    case Step::kExponent:
      if (c == '+' || c == '-') {
        step_ = Step::kExponentSign;
        return true;
      }
      [[fallthrough]];
    case Step::kExponentSign:
      if (!is_digit(c)) return fail(c, "in exponent of numeric literal");
      step_ = Step::kExponentDigits;
      return true;
    case Step::kExponentDigits:
      return is_digit(c) || end_value(c);
    case Step::kLiteral:
      if (c != *literal_) {
        return fail(c, "in literal " + std::string(literal_name_) + " (expecting '" + std::string(1, *literal_) + "')");
      }
      if (*++literal_ == '\0') step_ = Step::kEndValue;
      return true;
    case Step::kFailed:
      return false;
  }
  return false;
}

}  // namespace wire
