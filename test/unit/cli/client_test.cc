#include "cli/client.h"

#include <doctest/doctest.h>

namespace cli {
namespace {

using base::Code;
using base::Status;

TEST_CASE("client: errors in the words users read") {
  const auto words = [](Status status, bool passed) { return std::string(in_words(status, passed).text()); };
  CHECK(words(Status(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"), false) ==
        "etcdserver: mvcc: required revision has been compacted");
  CHECK(words(Status(Code::kUnknown, "etcdserver: something new"), false) ==
        "rpc error: code = Unknown desc = etcdserver: something new");
  CHECK(words(Status(Code::kDeadlineExceeded, "latest balancer error: x"), true) == "context deadline exceeded");
  CHECK(words(Status(Code::kDeadlineExceeded, "latest balancer error: x"), false) ==
        "rpc error: code = DeadlineExceeded desc = latest balancer error: x");
  CHECK(words(Status(Code::kUnavailable, "etcdserver: leader changed"), true) == "etcdserver: leader changed");
  CHECK(in_words(Status(), true).ok());
  CHECK(!is_catalogued("etcdserver: request canceled"));
  CHECK(!is_catalogued("no leader"));
}

TEST_CASE("client: the first endpoint decides about TLS for all") {
  const TlsFiles none;
  CHECK(*make_tls_context(none, "127.0.0.1:1") == nullptr);
  CHECK(*make_tls_context(none, "http://127.0.0.1:1") == nullptr);
  CHECK(*make_tls_context(none, "https://127.0.0.1:1") != nullptr);
  CHECK(*make_tls_context(none, "unixs://x") != nullptr);
  TlsFiles secure;
  secure.insecure_transport = false;
  CHECK(*make_tls_context(secure, "127.0.0.1:1") != nullptr);
  CHECK(*make_tls_context(secure, "http://127.0.0.1:1") == nullptr);
  CHECK(with_scheme({"a:1", "http://b:1", "unix:///c"}, true) ==
        std::vector<std::string>{"https://a:1", "https://b:1", "unixs:///c"});
  CHECK(with_scheme({"a:1", "https://b:1", "unixs:c", "foo://d"}, false) ==
        std::vector<std::string>{"a:1", "http://b:1", "unix:c", "foo://d"});
}

TEST_CASE("client: files that are missing or alone, in Go's words") {
  TlsFiles files;
  files.trusted_ca = "/nonexistent";
  CHECK(make_tls_context(files, "a:1").status().text() == "open /nonexistent: no such file or directory");
  files = TlsFiles();
  files.certificate = "/x";
  CHECK(make_tls_context(files, "a:1").status().text() == "KeyFile and CertFile must both be present[key: , cert: /x]");
  files.key = "/y";
  CHECK(make_tls_context(files, "a:1").status().text() == "open /x: no such file or directory");
}

}  // namespace
}  // namespace cli
