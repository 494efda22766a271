// Where a JSON document ends in a stream of them, and whether its syntax is right. The texts are those of Go's encoding/json,
// whose Decoder cuts the requests of etcd's gateway into documents. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wire {

inline constexpr size_t kJsonDepthMax = 10000;  // Go's

class JsonScanner {
 public:
  enum class Got { kMore, kDocument, kError };

  // Takes bytes off the front of `input` until a document is complete (white space after it is left) or all are taken.
  // After kDocument the next call begins a new one; after kError always kError.
  Got scan(std::string_view* input);
  // The input has ended. kMore: between documents; kDocument: only the end could complete it (a number, a string).
  Got finish();
  // The document has begun: something but white space came.
  bool inside() const { return inside_; }
  // At kError: `invalid character 'x' looking for beginning of value`, `unexpected EOF`.
  const std::string& error() const { return error_; }

 private:
  enum class Step : uint8_t {
    kBeginValue,
    kBeginValueOrEnd,  // after '['
    kBeginString,
    kBeginStringOrEnd,  // after '{'
    kEndValue,
    kInString,
    kEscape,
    kEscapeHex,
    kMinus,
    kZero,
    kDigits,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
    kLiteral,
    kFailed,
  };
  enum Open : char { kObjectKey, kObjectValue, kArrayValue };

  bool take(char c);  // false: `c` is not part of the document, which is complete, or is an error
  bool begin_value(char c);
  bool end_value(char c);
  bool open(Open what, Step step, char c);
  bool close();
  bool fail(char c, std::string_view where);

  Step step_ = Step::kBeginValue;
  bool inside_ = false;
  bool complete_ = false;  // by `}` or `]`
  int hex_left_ = 0;
  const char* literal_ = nullptr;  // what is still to come of it
  const char* literal_name_ = nullptr;
  std::string open_;  // of Open, outermost first
  std::string error_;
};

}  // namespace wire
