// Cuts a stream of bytes into gRPC messages: one byte (0 plain, 1 compressed), four bytes length big-endian, the message.
// Pure. Memory grows with what has arrived, never with what a length promises.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace rpc {

inline constexpr size_t kMessagePrefixBytes = 5;

void store_message_prefix(char* to, bool compressed, uint32_t size);

class MessageReader {
 public:
  enum class Got {
    kMore,      // input used up
    kPrefix,    // the length has just become known: size()
    kMessage,   // complete: message()
    kTooLarge,  // the length is over the limit: error_text(); nothing more can be read
  };

  // Forgets everything.
  void reset(size_t bytes_max) {
    bytes_max_ = bytes_max;
    prefix_bytes_ = 0;
    message_.clear();
  }
  // Takes bytes off the front of `input` up to the next thing to tell.
  Got next(std::string_view* input);

  uint32_t size() const { return size_; }
  uint8_t format() const { return static_cast<uint8_t>(prefix_[0]); }
  // Since kMessage until the next call of next().
  std::string& message() { return message_; }
  // A prefix has arrived, but not all of its message. (grpc-go takes a cut prefix for a clean end.)
  bool mid_message() const { return prefix_bytes_ == kMessagePrefixBytes && !complete_; }
  size_t buffered_bytes() const { return message_.size(); }
  // "grpc: received message larger than max (N vs. MAX)".
  std::string error_text() const;

 private:
  size_t bytes_max_ = 0;
  uint32_t size_ = 0;
  char prefix_[kMessagePrefixBytes] = {};
  size_t prefix_bytes_ = 0;
  bool complete_ = false;
  std::string message_;
};

// Undoes gzip. `bytes_max`: of the result. Errors as grpc-go words them.
base::Result<std::string> gunzip(std::string_view in, size_t bytes_max);

}  // namespace rpc
