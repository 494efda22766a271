// Lines of `etcdctl watch -i`: no crash, no endless loop; a line is a watch, a question or a complaint, or ends the program.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/verify.h"
#include "cli/ctl/watch_grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cli;  // NOLINT: the whole function is about it
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const ctl::WatchEnvironment& environment : {ctl::WatchEnvironment(), ctl::WatchEnvironment{"k", "l"}}) {
    ctl::WatchLine line;
    const Exit exit = ctl::read_watch_line(text, environment, line);
    VERIFY((exit.code == kExitOk) == exit.error.empty());
    if (exit.code != kExitOk) continue;
    VERIFY((line.kind == ctl::WatchLine::Kind::kWrong) == !line.complaint.empty());
    if (line.kind == ctl::WatchLine::Kind::kWatch) (void)line.request.SerializeAsString();
  }
  return 0;
}
