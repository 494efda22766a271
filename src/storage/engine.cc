#include "storage/engine.h"

#include "base/bytes.h"
#include "base/verify.h"

namespace storage {

namespace {
constexpr size_t kChangeHeadBytes = 9;
}

void WriteBatch::add(std::string_view key, std::string_view value, bool is_erase) {
  VERIFY(key.size() <= UINT32_MAX && value.size() <= UINT32_MAX);
  char head[kChangeHeadBytes];
  base::store_le32(head, static_cast<uint32_t>(key.size()));
  base::store_le32(head + 4, static_cast<uint32_t>(value.size()));
  head[8] = is_erase ? 1 : 0;
  flat_.append(head, sizeof head).append(key).append(value);
  bytes_ += key.size() + value.size();
}

void WriteBatch::for_each(const Visit& visit) const {
  const char* at = flat_.data();
  for (const char* const end = at + flat_.size(); at < end;) {
    const size_t key_bytes = base::load_le32(at);
    const size_t value_bytes = base::load_le32(at + 4);
    const bool is_erase = at[8] != 0;
    at += kChangeHeadBytes;
    visit({at, key_bytes}, {at + key_bytes, value_bytes}, is_erase);
    at += key_bytes + value_bytes;
  }
}

}  // namespace storage
