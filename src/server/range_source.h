// Answers to Range that do not fit into memory at once: the head, then pieces as the socket drains; and RangeStream.
#pragma once

#include <string>

#include "rpc/server.h"
#include "server/node.h"
#include "wire/codec.h"

namespace server {

// Big answers and streams being produced at one moment; more are refused.
inline constexpr size_t kBigReadsMax = 4096;

// A response message: the header in front of the fields.
std::string with_header(const wire::ResponseHeader& header, std::string_view fields);
// Executes the call's RangeRequest now and answers it, in one piece or many. `began`: when it came, for the metrics.
void answer_range(Node& node, rpc::UnaryCall call, base::Instant began);
void add_range_stream(rpc::Server& server, Node& node);

}  // namespace server
