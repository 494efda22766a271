// Keys numbered 0 to space-1 as etcd's benchmark makes them: the number as a zigzag varint, zeros up to the key's size; and a
// PutRequest with such a key that is encoded once and then only patched.
#pragma once

#include <cstdint>
#include <string>

#include "base/rng.h"
#include "base/status.h"

namespace cli::benchmark {

struct KeyFlags {
  int64_t key_size = 8, value_size = 8, key_space = 1;
};

// kInvalidArgument if the sizes are not positive or the largest number does not fit into a key.
base::Status check(const KeyFlags& flags);

class KeyMaker {
 public:
  // REQUIRES: check(flags) is ok.
  KeyMaker(const KeyFlags& flags, uint64_t seed);
  std::string key(uint64_t number) const;
  const std::string& value() const { return value_; }
  // An encoded PutRequest of key `number` and the value.
  const std::string& put_request(uint64_t number);
  uint64_t space() const { return static_cast<uint64_t>(flags_.key_space); }
  uint64_t any() { return random_.below(space()); }

 private:
  KeyFlags flags_;
  base::Rng random_;
  std::string value_;
  std::string put_request_;
  size_t key_at_ = 0;  // where the key stands in it
};

}  // namespace cli::benchmark
