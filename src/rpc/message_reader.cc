#include "rpc/message_reader.h"

#include <zlib.h>

#include <algorithm>

#include "base/bytes.h"

namespace rpc {

using base::Code;
using base::Result;
using base::Status;

void store_message_prefix(char* to, bool compressed, uint32_t size) {
  to[0] = compressed ? 1 : 0;
  base::store_be32(to + 1, size);
}

MessageReader::Got MessageReader::next(std::string_view* input) {
  if (complete_) {
    complete_ = false;
    prefix_bytes_ = 0;
    message_.clear();
  }
  if (prefix_bytes_ < kMessagePrefixBytes) {
    const size_t take = std::min(kMessagePrefixBytes - prefix_bytes_, input->size());
    input->copy(prefix_ + prefix_bytes_, take);
    prefix_bytes_ += take;
    input->remove_prefix(take);
    if (prefix_bytes_ < kMessagePrefixBytes) return Got::kMore;
    size_ = base::load_be32(prefix_ + 1);
    return size_ > bytes_max_ ? Got::kTooLarge : Got::kPrefix;
  }
  const size_t take = std::min<size_t>(size_ - message_.size(), input->size());
  message_.append(input->substr(0, take));
  input->remove_prefix(take);
  if (message_.size() < size_) return Got::kMore;
  complete_ = true;
  return Got::kMessage;
}

std::string MessageReader::error_text() const {
  return "grpc: received message larger than max (" + std::to_string(size_) + " vs. " + std::to_string(bytes_max_) + ")";
}

Result<std::string> gunzip(std::string_view in, size_t bytes_max) {
  constexpr size_t kStepBytes = 64 * 1024;
  constexpr size_t kGzipHeaderBytes = 10;
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  z_stream z{};
  if (inflateInit2(&z, kGzipOnly) != Z_OK) return Status(Code::kInternal, "grpc: failed to decompress the message: no memory");
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  std::string out;
  int rc = Z_OK;
  while (rc == Z_OK && out.size() <= bytes_max) {
    const size_t before = out.size();
    const size_t step = std::min(kStepBytes, bytes_max + 1 - before);
    out.resize(before + step);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    z.avail_out = static_cast<uInt>(step);
    rc = inflate(&z, Z_NO_FLUSH);
    out.erase(before + step - std::min<size_t>(step, z.avail_out));
    if (rc == Z_STREAM_END && z.avail_in > 0 && out.size() <= bytes_max) {
      rc = inflateReset(&z);  // gzip members may follow each other.
    }
  }
  const bool at_header = out.empty() && z.total_out == 0 && rc == Z_DATA_ERROR;
  inflateEnd(&z);
  if (out.size() > bytes_max) {
    return Status(Code::kResourceExhausted,
                  "grpc: received message after decompression larger than max " + std::to_string(bytes_max));
  }
  if (rc == Z_STREAM_END) return out;
  if (in.size() < kGzipHeaderBytes && !in.empty()) {
    return Status(Code::kInternal, "grpc: failed to decompress the message: unexpected EOF");
  }
  if (in.empty()) return Status(Code::kInternal, "grpc: failed to decompress the message: EOF");
  if (at_header) return Status(Code::kInternal, "grpc: failed to decompress the message: gzip: invalid header");
  if (rc == Z_BUF_ERROR || rc == Z_OK) return Status(Code::kInternal, "grpc: failed to read decompressed data: unexpected EOF");
  return Status(Code::kInternal, "grpc: failed to read decompressed data: gzip: invalid checksum");
}

}  // namespace rpc
