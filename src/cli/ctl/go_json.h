// JSON as Go's encoding/json makes it of the API's structures: names of the .proto files in their order, fields with zero
// values left out, bytes in base64, 64-bit numbers as numbers. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace cli::ctl {

// "text" with quotes; also escapes <, > and &, and replaces invalid UTF-8.
std::string json_string(std::string_view text);

// {"header":{...},"count":1}
std::string json_object(const google::protobuf::Message& message);

}  // namespace cli::ctl
