// Times as log lines show them.
#pragma once

#include <cstdint>
#include <string>

namespace base::log {

// 2006-01-02T15:04:05.000000Z, or with +0200 where the machine's clock is not at UTC.
std::string timestamp(int64_t unix_ns);

}  // namespace base::log
