// gRPC framing and its texts: what is cut from any bytes in any steps is the same, memory stays within what arrived, and
// decode(encode(x)) == x. First byte: the step.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/grpc_text.h"
#include "rpc/message_reader.h"

namespace {

constexpr size_t kBytesMax = 1000;

std::vector<std::string> cut(std::string_view bytes, size_t step) {
  std::vector<std::string> messages;
  rpc::MessageReader reader;
  reader.reset(kBytesMax);
  for (size_t at = 0; at < bytes.size(); at += step) {
    std::string_view input = bytes.substr(at, step);
    for (;;) {
      const auto got = reader.next(&input);
      if (reader.buffered_bytes() > kBytesMax) std::abort();
      if (got == rpc::MessageReader::Got::kMore) break;
      if (got == rpc::MessageReader::Got::kTooLarge) {
        if (reader.size() <= kBytesMax) std::abort();
        return messages;
      }
      if (got == rpc::MessageReader::Got::kMessage) {
        if (reader.message().size() != reader.size()) std::abort();
        messages.push_back(reader.message());
      }
    }
  }
  return messages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if (cut(bytes, data[0] + size_t{1}) != cut(bytes, bytes.size() + 1)) std::abort();

  const std::string encoded = rpc::encode_message(bytes);
  for (char c : encoded) {
    if (c < ' ' || c > '~') std::abort();
  }
  const std::string decoded = rpc::decode_message(encoded);  // Valid UTF-8 now, so stable.
  if (rpc::decode_message(rpc::encode_message(decoded)) != decoded) std::abort();
  (void)rpc::quote(bytes);
  (void)rpc::content_subtype(bytes);
  size_t bad_at = 0;
  if (!rpc::decode_binary(bytes, &bad_at) && bad_at > bytes.size()) std::abort();
  const auto timeout = rpc::parse_timeout(bytes);
  if (timeout.ok() && timeout->count() < 0) std::abort();
  const auto plain = rpc::gunzip(bytes, kBytesMax);
  if (plain.ok() && plain->size() > kBytesMax) std::abort();
  return 0;
}
