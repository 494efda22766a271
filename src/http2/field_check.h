// Whether the fields of one header block are what HTTP/2 allows: told each field in order, then the end of the block. No
// memory, no I/O; about one instruction a byte. Source: RFC 9113 8.1-8.3, RFC 9110 5.1 and 5.5.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace http2 {

class FieldCheck {
 public:
  // kLater: what a client gets behind the first block: trailers, or the response behind a 1xx.
  enum class Block : uint8_t { kRequest, kResponse, kTrailers, kLater };

  void begin(Block block) {
    *this = FieldCheck();
    block_ = block;
  }
  // False: malformed, the stream is to be reset with PROTOCOL_ERROR. Wrong are: names that are not lower-case tokens, values
  // with control characters, pseudo-header fields that are unknown, repeated, empty or behind others, fields of HTTP/1.1
  // connections, a content-length that is no number or given twice.
  bool add(std::string_view name, std::string_view value);
  // The block is complete. False: a request without method, scheme or path; a response without status; trailers that do not
  // end the stream.
  bool complete(bool end_stream) const;
  // What the block promises the body will have.
  std::optional<uint64_t> content_length() const { return content_length_; }

 private:
  enum Pseudo : uint8_t { kMethod = 1, kScheme = 2, kPath = 4, kAuthority = 8, kStatus = 16 };

  bool add_pseudo(std::string_view name, std::string_view value);
  bool is_allowed(std::string_view name, std::string_view value);
  bool add_length(std::string_view value);

  std::optional<uint64_t> content_length_;
  Block block_ = Block::kRequest;
  uint8_t seen_ = 0;
  bool fields_begun_ = false;  // a field that is not a pseudo-header field was seen
};

}  // namespace http2
