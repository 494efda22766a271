// Any bytes, cut anywhere: the parser tells the same story as for the whole and keeps to its limit.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http1/websocket.h"

namespace {

constexpr size_t kMessageBytesMax = 300;

std::string story(std::string_view input, size_t piece) {
  using Event = http1::WebSocketParser::Event;
  http1::WebSocketParser parser(kMessageBytesMax);
  std::string told;
  while (!input.empty()) {
    std::string_view part = input.substr(0, piece);
    input.remove_prefix(part.size());
    for (;;) {
      const Event event = parser.next(&part);
      if (event == Event::kNeedMore) {
        if (!part.empty()) std::abort();
        break;
      }
      if (parser.payload().size() > kMessageBytesMax) std::abort();
      told += std::to_string(static_cast<int>(event)) + "/" + std::to_string(parser.code()) + ":" + parser.payload() + "\n";
      if (event == Event::kError) return told;
    }
  }
  return told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (story(input, 1) != story(input, input.size() + 1)) std::abort();
  return 0;
}
