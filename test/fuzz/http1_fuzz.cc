// Any bytes, cut anywhere: the parser must tell the same story as for the whole, within its limits.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http1/parser.h"

namespace {

std::string story(http1::Role role, std::string_view input, size_t piece) {
  http1::Limits limits;
  limits.head_bytes_max = 512;
  limits.fields_max = 16;
  limits.body_bytes_max = 1024;
  http1::Parser parser(role, limits);
  std::string told;
  uint64_t body = 0;
  for (;;) {
    std::string_view part = input.substr(0, std::min(piece, input.size()));
    const size_t offered = part.size();
    const http1::Event event = parser.next(&part);
    if (part.size() > offered) std::abort();
    input.remove_prefix(offered - part.size());
    if (event == http1::Event::kNeedMore) {
      if (!part.empty()) std::abort();
      if (input.empty()) break;
      continue;
    }
    if (event == http1::Event::kBody) {
      body += parser.body().size();
      told += parser.body();
      if (parser.body().empty() || body > limits.body_bytes_max) std::abort();
      continue;
    }
    told += "|" + std::to_string(static_cast<int>(event));
    if (event == http1::Event::kError) {
      if (parser.error_status() < 400 || parser.error().ok()) std::abort();
      return told + std::to_string(parser.error_status());
    }
    if (event == http1::Event::kEnd) body = 0;
    if (event == http1::Event::kHead) {
      const http1::Head& head = parser.head();
      if (head.fields.size() > limits.fields_max) std::abort();
      if (head.chunked && head.content_length) std::abort();
      told += head.method + head.target + head.reason;
      for (const auto& [name, value] : head.fields) told += name + "=" + value + ";";
    }
  }
  return told + "|" + std::to_string(static_cast<int>(parser.finish()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const http1::Role role = data[0] % 2 == 0 ? http1::Role::kServer : http1::Role::kClient;
  const size_t piece = 1 + data[1] % 16;
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (story(role, input, SIZE_MAX) != story(role, input, piece)) std::abort();
  return 0;
}
