// Broken invariants (our bugs) and unusable worlds (the disk lied) stop the process here. On in production.
#pragma once

#include <source_location>
#include <string>
#include <string_view>

namespace base {

// Prints what went wrong, the place, and the context set by set_fatal_context, then aborts. Never returns.
// Flushes the log first. Use for a failed fsync, corrupt state, a broken invariant; never for what a client sent.
[[noreturn]] void fatal(std::string_view why, std::source_location where = std::source_location::current());
[[noreturn]] void verify_failed(const char* condition, const char* file, int line);

// A text such as "member=8e9e05c52164694d term=3 applied=17" that the two above print. The function is called in the
// failing thread; it may only read atomics. Null: no context.
using FatalContext = std::string (*)();
void set_fatal_context(FatalContext context);

}  // namespace base

#define VERIFY(condition)                                                        \
  do {                                                                           \
    if (!(condition)) [[unlikely]]                                               \
      ::base::verify_failed(#condition, __FILE__, __LINE__);                     \
  } while (false)

// For checks too costly for production: only in sanitizer and simulation builds.
#ifdef ETCD_DVERIFY
#define DVERIFY(condition) VERIFY(condition)
#else
#define DVERIFY(condition) ((void)0)
#endif
