// Cuts the keyspace into neighbouring ranges of about equal size, for work that must pause between them: rewriting a whole
// engine (Engine::compact). Asks the engine for sizes only, so the ranges are found as the work goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/engine.h"

namespace storage {

class Slices {
 public:
  struct Range {
    std::string begin, limit;
  };

  // `engine` outlives this.
  Slices(const Engine& engine, uint64_t bytes_max);
  // The next range that has bytes, of at most `bytes_max` if its keys differ in their first kPrefixBytes; nullopt: the end.
  // Blocks as Engine::range_bytes does: some microseconds for each of at most 8 * kPrefixBytes halvings.
  std::optional<Range> next();

  // A bucket's byte and a revision's main number: what tells the rows of a big store apart.
  static constexpr size_t kPrefixBytes = 9;

 private:
  // Keys are compared as numbers made of their first bytes.
  using Number = unsigned __int128;
  struct Part {
    Number begin, limit;
  };
  static std::string to_key(Number number);

  const Engine& engine_;
  const uint64_t bytes_max_;
  std::vector<Part> parts_;  // what is left, the last part first
};

}  // namespace storage
