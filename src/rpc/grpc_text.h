// The texts of gRPC on HTTP/2: timeouts, status messages, content types, quoted names. Pure; as grpc-go 1.82 has them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"

namespace rpc {

// "100m" -> 100 ms. At most 8 digits and one of H M S m u n. Error texts as grpc-go's.
base::Result<base::Duration> parse_timeout(std::string_view text);
// The shortest exact or rounded-up form with at most 8 digits.
std::string format_timeout(base::Duration timeout);

// grpc-message: percent-encodes what is not printable ASCII; bytes that are not UTF-8 become U+FFFD.
std::string encode_message(std::string_view text);
std::string decode_message(std::string_view text);

// The part after "application/grpc+" or "application/grpc;" in lower case, empty for plain "application/grpc";
// nullopt when it is not a gRPC content type.
std::optional<std::string> content_subtype(std::string_view content_type);
// "application/grpc" or "application/grpc+subtype".
std::string content_type(std::string_view subtype);

// Go's %q.
std::string quote(std::string_view text);

// The value of a "-bin" field; nullopt and the index of the first bad byte when it is not base64.
std::optional<std::string> decode_binary(std::string_view text, size_t* bad_at);

}  // namespace rpc
