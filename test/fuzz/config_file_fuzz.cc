// Configuration files of any bytes: an error with its text or a configuration, within bounded time and memory.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cli/server/flags.h"
#include "server/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  server::Config config = server::Config::defaults();
  bool plain = false;
  const base::Status status =
      cli::read_config_text(std::string_view(reinterpret_cast<const char*>(data), size), config, plain);
  if (!status.ok() && status.text().empty()) std::abort();
  if (plain && status.ok()) std::abort();
  if (status.ok()) (void)cli::warnings(config);
  return 0;
}
