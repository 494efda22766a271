// UTF-8 as protobuf demands it of string fields: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <string_view>

namespace wire {

bool valid_utf8(std::string_view text);

}  // namespace wire
