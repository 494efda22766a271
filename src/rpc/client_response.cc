#include "rpc/client_response.h"

#include <charconv>
#include <iterator>
#include <utility>

#include "rpc/grpc_text.h"

namespace rpc {

using base::Code;
using base::Status;

namespace {

struct HttpCode {
  int http;
  Code grpc;
  std::string_view phrase;
};
// gRPC's table of what an HTTP status means for a call; others are Unknown.
constexpr HttpCode kHttpCodes[] = {{200, Code::kUnknown, "OK"},
                                   {400, Code::kInternal, "Bad Request"},
                                   {401, Code::kUnauthenticated, "Unauthorized"},
                                   {403, Code::kPermissionDenied, "Forbidden"},
                                   {404, Code::kUnimplemented, "Not Found"},
                                   {405, Code::kUnknown, "Method Not Allowed"},
                                   {408, Code::kUnknown, "Request Timeout"},
                                   {413, Code::kUnknown, "Request Entity Too Large"},
                                   {415, Code::kUnknown, "Unsupported Media Type"},
                                   {429, Code::kUnavailable, "Too Many Requests"},
                                   {431, Code::kUnknown, "Request Header Fields Too Large"},
                                   {500, Code::kUnknown, "Internal Server Error"},
                                   {501, Code::kUnknown, "Not Implemented"},
                                   {502, Code::kUnavailable, "Bad Gateway"},
                                   {503, Code::kUnavailable, "Service Unavailable"},
                                   {504, Code::kUnavailable, "Gateway Timeout"}};

// The whole text as a decimal number.
bool parse_int(std::string_view text, int* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Code code_of(int number) {
  return number >= 0 && number <= static_cast<int>(Code::kUnauthenticated) ? static_cast<Code>(number) : Code::kUnknown;
}

constexpr std::string_view kHttp2Errors[] = {"NO_ERROR",
                                             "PROTOCOL_ERROR",
                                             "INTERNAL_ERROR",
                                             "FLOW_CONTROL_ERROR",
                                             "SETTINGS_TIMEOUT",
                                             "STREAM_CLOSED",
                                             "FRAME_SIZE_ERROR",
                                             "REFUSED_STREAM",
                                             "CANCEL",
                                             "COMPRESSION_ERROR",
                                             "CONNECT_ERROR",
                                             "ENHANCE_YOUR_CALM",
                                             "INADEQUATE_SECURITY",
                                             "HTTP_1_1_REQUIRED"};

}  // namespace

std::string http2_error_name(uint32_t http2_error) {
  if (http2_error < std::size(kHttp2Errors)) return std::string(kHttp2Errors[http2_error]);
  return "unknown error code " + std::to_string(http2_error);
}

Status status_of_reset(uint32_t http2_error) {
  Code code = http2_error < std::size(kHttp2Errors) ? Code::kInternal : Code::kUnknown;
  constexpr uint32_t kFlowControl = 3, kRefused = 7, kCancel = 8, kCalm = 11, kSecurity = 12;
  if (http2_error == kFlowControl || http2_error == kCalm) code = Code::kResourceExhausted;
  if (http2_error == kRefused) code = Code::kUnavailable;
  if (http2_error == kCancel) code = Code::kCancelled;
  if (http2_error == kSecurity) code = Code::kPermissionDenied;
  return Status(code, "stream terminated by RST_STREAM with error code: " + http2_error_name(http2_error));
}

void ClientResponse::reset(size_t message_bytes_max) {
  message_bytes_max_ = message_bytes_max;
  reader_.reset(message_bytes_max);
  block_ = Block();
  encoding_.clear();
  got_headers_ = begun_ = finished_ = foreign_ = false;
  foreign_body_.clear();
  foreign_status_ = status_ = Status();
}

void ClientResponse::on_header(std::string_view name, std::string_view value) {
  if (name == ":status") {
    block_.http_status = std::string(value);
  } else if (name == "content-type") {
    block_.content_type = std::string(value);
    block_.has_content_type = true;
  } else if (name == "grpc-status") {
    block_.grpc_status = std::string(value);
    block_.has_grpc_status = true;
  } else if (name == "grpc-message") {
    block_.grpc_message = decode_message(value);
  } else if (name == "grpc-encoding") {
    encoding_ = std::string(value);
  }
}

void ClientResponse::on_headers_end(bool end_stream) {
  begun_ = true;
  if (finished_) return;
  if (foreign_) {
    if (end_stream) finish_foreign();
  } else if (!got_headers_) {
    judge_first_headers(end_stream);
  } else if (!end_stream) {
    finish(Status(Code::kInternal, "a HEADERS frame cannot appear in the middle of a stream"));
  } else {
    judge_trailers();
  }
  block_ = Block();
}

void ClientResponse::judge_first_headers(bool end_stream) {
  const bool grpc = block_.has_content_type && content_subtype(block_.content_type).has_value();
  if (grpc) {
    got_headers_ = true;
    if (end_stream) judge_trailers();
    return;
  }
  int http = 0;
  if (!parse_int(block_.http_status, &http)) {
    return finish(Status(Code::kInternal, "transport: malformed http-status: " + quote(block_.http_status)));
  }
  if (http >= 100 && http < 200 && !end_stream) return;  // An interim answer.
  Code code = Code::kUnknown;
  std::string_view phrase;
  for (const HttpCode& row : kHttpCodes) {
    if (row.http != http) continue;
    code = row.grpc;
    phrase = row.phrase;
  }
  std::string text = "unexpected HTTP status code received from server: ";
  text += std::to_string(http) + " (" + std::string(phrase) + "); ";
  text += block_.has_content_type ? "transport: received unexpected content-type " + quote(block_.content_type)
                                  : std::string("malformed header: missing HTTP content-type");
  if (end_stream) return finish(Status(code, std::move(text)));
  foreign_ = true;
  foreign_status_ = Status(code, std::move(text));
}

void ClientResponse::judge_trailers() {
  if (!block_.has_grpc_status) return finish(Status(Code::kUnknown, block_.grpc_message));
  int number = 0;
  if (!parse_int(block_.grpc_status, &number)) {
    return finish(Status(Code::kUnknown, "transport: malformed grpc-status: strconv.ParseInt: parsing " +
                                             quote(block_.grpc_status) + ": invalid syntax"));
  }
  const Code code = code_of(number);
  if (code != Code::kOk) return finish(Status(code, std::move(block_.grpc_message)));
  finish(reader_.mid_message() ? Status(Code::kInternal, "unexpected EOF") : Status());
}

ClientResponse::Got ClientResponse::next(std::string_view* data, std::string* message) {
  if (!data->empty()) begun_ = true;
  while (!finished_) {
    if (foreign_ || !got_headers_) {
      foreign_body_.append(data->substr(0, kForeignBodyBytesMax - foreign_body_.size()));
      data->remove_prefix(data->size());
      if (foreign_body_.size() == kForeignBodyBytesMax) finish_foreign();
      break;
    }
    const MessageReader::Got got = reader_.next(data);
    if (got == MessageReader::Got::kMore) break;
    if (got == MessageReader::Got::kTooLarge) finish(Status(Code::kResourceExhausted, reader_.error_text()));
    if (got != MessageReader::Got::kMessage) continue;
    Status checked = check_message(message);
    if (checked.ok()) return Got::kMessage;
    finish(std::move(checked));
  }
  return Got::kMore;
}

Status ClientResponse::check_message(std::string* message) {
  const int format = reader_.format();
  if (format == 0) {
    *message = std::move(reader_.message());
    return Status();
  }
  if (format != 1) return Status(Code::kInternal, "grpc: received unexpected payload format " + std::to_string(format));
  if (encoding_.empty() || encoding_ == "identity") {
    return Status(Code::kInternal, "grpc: compressed flag set with identity or empty encoding");
  }
  if (encoding_ != "gzip") {
    return Status(Code::kInternal, "grpc: Decompressor is not installed for grpc-encoding " + quote(encoding_));
  }
  auto plain = gunzip(reader_.message(), message_bytes_max_);
  if (!plain.ok()) return plain.status();
  *message = std::move(*plain);
  return Status();
}

void ClientResponse::on_end_stream() {
  if (finished_) return;
  if (foreign_) return finish_foreign();
  finish(Status(Code::kInternal, "server closed the stream without sending trailers"));
}

void ClientResponse::finish_foreign() {
  finish(Status(foreign_status_.code(), std::string(foreign_status_.text()) + "\ndata: " + quote(foreign_body_)));
}

void ClientResponse::finish(Status status) {
  if (finished_) return;
  finished_ = true;
  status_ = std::move(status);
}

}  // namespace rpc
