// What a server says to one call, from header fields and data to messages and a final status. Pure. Texts and codes are those
// that grpc-go's client gives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "rpc/message_reader.h"

namespace rpc {

class ClientResponse {
 public:
  explicit ClientResponse(size_t message_bytes_max) { reset(message_bytes_max); }
  // Forgets everything: for another attempt.
  void reset(size_t message_bytes_max);

  void on_header(std::string_view name, std::string_view value);
  void on_headers_end(bool end_stream);

  enum class Got { kMore, kMessage };
  // Takes data off the front. kMessage: `message` was set. kMore: all taken, or finished().
  Got next(std::string_view* data, std::string* message);
  void on_end_stream();  // on a DATA frame

  // The call is over with status(): trailers have come, or an error was found.
  bool finished() const { return finished_; }
  const base::Status& status() const { return status_; }
  // Something has arrived: the server has begun to work, the call must not be tried again.
  bool begun() const { return begun_; }
  bool mid_message() const { return reader_.mid_message(); }
  // Bytes that a not yet complete message holds.
  size_t partial_bytes() const { return reader_.mid_message() ? reader_.buffered_bytes() : 0; }

  static constexpr size_t kForeignBodyBytesMax = 1024;  // of an answer that is not gRPC, kept for the error text

 private:
  void finish(base::Status status);
  void finish_foreign();
  void judge_first_headers(bool end_stream);
  void judge_trailers();
  base::Status check_message(std::string* message);

  struct Block {
    std::string http_status, content_type, grpc_status, grpc_message;
    bool has_content_type = false, has_grpc_status = false;
  };

  MessageReader reader_;
  size_t message_bytes_max_ = 0;
  Block block_;           // the header block under way
  std::string encoding_;  // grpc-encoding
  bool got_headers_ = false;
  bool begun_ = false;
  bool finished_ = false;
  bool foreign_ = false;  // not gRPC: collecting its body
  base::Status foreign_status_;
  std::string foreign_body_;
  base::Status status_;
};

// gRPC's code and text for a stream that was reset: "stream terminated by RST_STREAM with error code: CANCEL".
base::Status status_of_reset(uint32_t http2_error);
// "PROTOCOL_ERROR", ... as in Go's x/net/http2.
std::string http2_error_name(uint32_t http2_error);

}  // namespace rpc
