#include "storage/slices.h"

namespace storage {
namespace {

constexpr int kPrefixBits = 8 * static_cast<int>(Slices::kPrefixBytes);

}  // namespace

Slices::Slices(const Engine& engine, uint64_t bytes_max) : engine_(engine), bytes_max_(bytes_max) {
  parts_.push_back({0, Number{1} << kPrefixBits});
}

std::string Slices::to_key(Number number) {
  // Above every key of the store: no bucket has the byte 0xff.
  if (number >> kPrefixBits != 0) return std::string(kPrefixBytes + 1, '\xff');
  std::string key(kPrefixBytes, '\0');
  for (size_t i = kPrefixBytes; i-- > 0; number >>= 8) key[i] = static_cast<char>(number & 0xff);
  return key;
}

std::optional<Slices::Range> Slices::next() {
  while (!parts_.empty()) {
    const Part part = parts_.back();
    parts_.pop_back();
    Range range{to_key(part.begin), to_key(part.limit)};
    const uint64_t bytes = engine_.range_bytes(range.begin, range.limit);
    if (bytes == 0) continue;
    const Number middle = part.begin + (part.limit - part.begin) / 2;
    if (bytes <= bytes_max_ || middle == part.begin) return range;
    parts_.push_back({middle, part.limit});
    parts_.push_back({part.begin, middle});
  }
  return std::nullopt;
}

}  // namespace storage
