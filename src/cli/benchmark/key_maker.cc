#include "cli/benchmark/key_maker.h"

#include <algorithm>

#include "base/verify.h"
#include "cli/text.h"
#include "rpc.pb.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kSizeMax = 1 << 30;
constexpr size_t kVarintBytesMax = 10;

// Go's binary.PutVarint; returns how many bytes it took.
size_t put_varint(uint64_t number, char* out) {
  uint64_t zigzag = number << 1;
  size_t size = 0;
  while (zigzag >= 0x80) {
    out[size++] = static_cast<char>(zigzag | 0x80);
    zigzag >>= 7;
  }
  out[size++] = static_cast<char>(zigzag);
  return size;
}

}  // namespace

base::Status check(const KeyFlags& flags) {
  const auto wrong = [](std::string text) { return base::Status(base::Code::kInvalidArgument, std::move(text)); };
  if (flags.key_space <= 0) {
    return wrong("expected positive --key-space-size, got (" + std::to_string(flags.key_space) + ")");
  }
  if (flags.value_size < 0 || flags.value_size > kSizeMax || flags.key_size > kSizeMax) {
    return wrong("expected --key-size and --val-size from 0 to " + std::to_string(kSizeMax));
  }
  char buffer[kVarintBytesMax];
  const auto needed = static_cast<int64_t>(put_varint(static_cast<uint64_t>(flags.key_space - 1), buffer));
  if (flags.key_size < needed) {
    return wrong("expected --key-size of at least " + std::to_string(needed) + " for this --key-space-size");
  }
  return base::Status();
}

KeyMaker::KeyMaker(const KeyFlags& flags, uint64_t seed) : flags_(flags), random_(seed) {
  VERIFY(check(flags).ok());
  value_.resize(static_cast<size_t>(flags.value_size));
  for (char& c : value_) c = static_cast<char>(random_.next());
  const std::string marker(static_cast<size_t>(flags.key_size), '\0');
  etcdserverpb::PutRequest request;
  request.set_key(marker);
  put_request_ = request.SerializeAsString();
  key_at_ = put_request_.size() - marker.size();  // so far the key is the last field
  request.set_value(value_);
  put_request_ = request.SerializeAsString();
}

std::string KeyMaker::key(uint64_t number) const {
  std::string key(static_cast<size_t>(flags_.key_size), '\0');
  char digits[kVarintBytesMax];
  const size_t size = put_varint(number, digits);
  std::copy(digits, digits + size, key.begin());
  return key;
}

const std::string& KeyMaker::put_request(uint64_t number) {
  char* key = put_request_.data() + key_at_;
  char digits[kVarintBytesMax];
  const size_t size = put_varint(number, digits);
  const size_t room = std::min(kVarintBytesMax, static_cast<size_t>(flags_.key_size));
  std::fill(key, key + room, '\0');  // of the number before
  std::copy(digits, digits + size, key);
  return put_request_;
}

}  // namespace cli::benchmark
