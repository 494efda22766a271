// What happens instead of the end of the process when a member stops itself (base/verify.h): the simulator, whose process holds
// many members, lets one of them die. Not set in any program of ours.
#pragma once

#include <string>

namespace base {

// Called with the text of fatal() or verify_failed(), in the failing thread; ends by throwing. Null: abort, as always.
using StopHook = void (*)(const std::string& text);
void set_stop_hook_for_test(StopHook hook);

}  // namespace base
