// Writes heads and chunks of HTTP/1.1. Pure. A field that could break out of its line is made harmless: CR, LF and NUL in
// values become spaces, fields with a malformed name are left out (as Go's net/http does).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "http1/parser.h"

namespace http1 {

// How the receiver learns where the body ends.
enum class Framing {
  kNone,        // no body and no Content-Length (1xx, 204, 304, requests without a body)
  kLength,      // Content-Length
  kChunked,     // Transfer-Encoding: chunked
  kUntilClose,  // the end of the connection; also for chunked answers to HTTP/1.0
};

// "OK", "Not Found"; "status code 299" for numbers without a phrase, as Go has it.
std::string reason_phrase(int status);

// Appends status line, `fields`, framing, "Connection: close" unless keep_alive, and the empty line. `length` counts only
// with kLength. Names are written as given; the caller does not give Content-Length, Transfer-Encoding or Connection
// (a 101 answer gives its own Connection and kNone).
void append_response_head(int status, const Fields& fields, Framing framing, uint64_t length, bool keep_alive,
                          std::string& out);

// "Host" is written first from `host`.
void append_request_head(std::string_view method, std::string_view target, std::string_view host, const Fields& fields,
                         Framing framing, uint64_t length, std::string& out);

// "HTTP/1.1 100 Continue" and an empty line.
void append_continue(std::string& out);

// One chunk. Nothing when `data` is empty (an empty chunk would end the body).
void append_chunk(std::string_view data, std::string& out);
// The end of a chunked body; `trailers` after it, as fields of a head.
void append_last_chunk(std::string& out, const Fields& trailers = {});

// "Sun, 22 Nov 2026 16:52:52 GMT" for the Date field, from seconds since 1970.
std::string http_date(int64_t unix_seconds);

}  // namespace http1
