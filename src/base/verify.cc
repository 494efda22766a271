#include "base/verify.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/stop_hook.h"

namespace base {
namespace {

std::atomic<FatalContext> g_context{nullptr};
std::atomic<StopHook> g_stop_hook{nullptr};

[[noreturn]] void stop(const std::string& text) {
  if (const StopHook hook = g_stop_hook.load(); hook != nullptr) hook(text);
  FatalContext context = g_context.load();
  const std::string around = context != nullptr ? context() : std::string();
  log::write(log::Level::kFatal, text, {{"context", around}});
  log::flush();
  std::abort();
}

}  // namespace

void fatal(std::string_view why, std::source_location where) {
  stop(std::string(why) + " (" + where.file_name() + ":" + std::to_string(where.line()) + ")");
}

void verify_failed(const char* condition, const char* file, int line) {
  stop(std::string("invariant broken: ") + condition + " (" + file + ":" + std::to_string(line) + ")");
}

void set_stop_hook_for_test(StopHook hook) { g_stop_hook.store(hook); }

void set_fatal_context(FatalContext context) { g_context.store(context); }

}  // namespace base
