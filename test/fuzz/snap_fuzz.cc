// Any bytes as a .snap file: an error, or a snapshot that encodes and decodes to itself.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/verify.h"
#include "storage/snap/snap.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto read = storage::decode_snap({reinterpret_cast<const char*>(data), size});
  if (!read.ok()) {
    VERIFY(read.status().code() == base::Code::kDataLoss);
    return 0;
  }
  const auto again = storage::decode_snap(storage::encode_snap(*read));
  VERIFY(again.ok());
  VERIFY(again->index == read->index && again->term == read->term);
  VERIFY(again->conf_state == read->conf_state && again->data == read->data);
  return 0;
}
