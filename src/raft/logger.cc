#include "raft/logger.h"

#include "base/verify.h"

namespace raft {

void panic(Logger& logger, std::string_view text) {
  logger.write(LogLevel::kFatal, text);
  base::fatal(text);
}

}  // namespace raft
