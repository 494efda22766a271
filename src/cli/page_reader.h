// One HTTP page, read whole: what `check datascale` needs of a member's /metrics.
#pragma once

#include <asio.hpp>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "cli/client_tls.h"

namespace cli {

inline constexpr size_t kPageBytesMax = 64u << 20;

// The body of http(s)://host:port/path; `endpoint` without a scheme is clear text. Runs the loop. Any answer's body counts,
// whatever its status. Errors: as net::connect_tcp words them; kResourceExhausted if it is larger than kPageBytesMax.
base::Result<std::string> read_page(asio::io_context& loop, const base::Clock& clock, const std::string& endpoint,
                                    const std::string& path, const TlsFiles& tls, base::Duration timeout);

}  // namespace cli
