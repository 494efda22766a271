// The parts of a list in one word, as Go's strings.Split gives them: "" is one empty part, and n separators make n + 1 parts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace base {

inline std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

}  // namespace base
