// Waiting for a store that another process has open, as --timeout says.
#pragma once

#include <functional>

#include "base/clock.h"

namespace cli::utl {

// To be called between two tries: pauses a little; false once `limit` (0: none) has passed since the first call.
std::function<bool()> wait_for_lock(base::Duration limit);

}  // namespace cli::utl
