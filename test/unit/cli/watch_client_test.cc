#include "cli/watch_client.h"

#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

namespace cli {
namespace {

etcdserverpb::WatchResponse response(const std::string& text) {
  etcdserverpb::WatchResponse out;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &out));
  return out;
}

TEST_CASE("watch: from where it resumes") {
  const auto created = response("header { revision: 9 } created: true");
  CHECK(resume_revision(created, 0, true) == 9);
  CHECK(resume_revision(created, 4, true) == 4);
  CHECK(resume_revision(created, 0, false) == 0);
  CHECK(resume_revision(response("header { revision: 9 }"), 4, false) == 10);
  CHECK(resume_revision(response("header { revision: 9 } events { kv { mod_revision: 6 } } events { kv { mod_revision: 7 } }"),
                        4, false) == 8);
}

TEST_CASE("watch: what only says how far it is") {
  CHECK(is_progress(response("header { revision: 9 }")));
  CHECK(!is_progress(response("header { revision: 0 }")));
  CHECK(!is_progress(response("header { revision: 9 } created: true")));
  CHECK(!is_progress(response("header { revision: 9 } canceled: true")));
  CHECK(!is_progress(response("header { revision: 9 } compact_revision: 3")));
  CHECK(!is_progress(response("header { revision: 9 } events { }")));
}

TEST_CASE("watch: why it was cancelled, in the Go client's words") {
  CHECK(cancel_text(response("canceled: true compact_revision: 5 cancel_reason: \"x\"")) ==
        "etcdserver: mvcc: required revision has been compacted");
  CHECK(cancel_text(response("canceled: true cancel_reason: \"etcdserver: permission denied\"")) ==
        "etcdserver: permission denied");
  CHECK(cancel_text(response("canceled: true cancel_reason: \"x\"")) == "rpc error: code = FailedPrecondition desc = x");
  CHECK(cancel_text(response("canceled: true")) == "etcdserver: mvcc: required revision is a future revision");
}

}  // namespace
}  // namespace cli
