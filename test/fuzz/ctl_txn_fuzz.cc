// Lines of a transaction as etcdctl reads them: no crash, no endless loop; what parses can be encoded.
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "base/verify.h"
#include "cli/ctl/txn_grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cli;  // NOLINT: the whole function is about it
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  etcdserverpb::Compare compare;
  const Exit compared = ctl::parse_compare(line, compare);
  VERIFY((compared.code == kExitOk) == compared.error.empty());
  std::vector<std::string> words;
  if (ctl::split_words(line, words).code != kExitOk) return 0;
  // Two keys without --range would wait for the user.
  const bool waits = line.find('d') != std::string_view::npos && words.size() > 2;
  if (waits) return 0;
  std::istringstream in("value");
  std::ostringstream out, err;
  Terminal terminal{in, out, err};
  etcdserverpb::RequestOp request;
  const Exit parsed = ctl::parse_request(line, terminal, request);
  VERIFY((parsed.code == kExitOk) == parsed.error.empty());
  if (parsed.code == kExitOk) VERIFY(request.request_case() != etcdserverpb::RequestOp::REQUEST_NOT_SET);
  return 0;
}
