#include "cli/ctl/txn_grammar.h"

#include <doctest/doctest.h>

#include <sstream>

namespace cli::ctl {
namespace {

TEST_CASE("compares: what lines mean") {
  struct Row {
    const char* line;
    const char* compare;  // as protobuf text
  };
  for (const Row& row : std::initializer_list<Row>{
           {R"(mod("k") > "0")", R"(result: GREATER target: MOD key: "k" mod_revision: 0)"},
           {R"(m("k") = "7")", R"(target: MOD key: "k" mod_revision: 7)"},
           {R"(create("k") < "1")", R"(result: LESS target: CREATE key: "k" create_revision: 1)"},
           {R"(c("k") != "-1")", R"(result: NOT_EQUAL target: CREATE key: "k" create_revision: -1)"},
           {R"(version("k") = "1")", R"(key: "k" version: 1)"},
           {R"(ver( "k")   =   "1" and more)", R"(key: "k" version: 1)"},
           {R"(value("a(b") = "")", R"(target: VALUE key: "a(b" value: "")"},
           {R"(val("\x6b\u00e9\n") = `\x`)", R"(target: VALUE key: "k\303\251\n" value: "\\x")"},
           {R"(lease("k") = "7f")", R"(target: LEASE key: "k" lease: 127)"},
       }) {
    CAPTURE(row.line);
    etcdserverpb::Compare compare;
    const Exit exit = parse_compare(row.line, compare);
    CHECK(exit.error == "");
    CHECK(compare.ShortDebugString() == row.compare);
  }
}

TEST_CASE("compares: what is wrong with a line, in etcdctl's words") {
  struct Row {
    const char* line;
    const char* error;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"mod", "malformed comparison: mod"},
           {R"(mod(x) > "1")", R"(malformed comparison: mod(x) > "1"; got mod("")  "")"},
           {R"(mod("k")> "1")", R"(malformed comparison: mod("k")> "1"; got mod("k")  "")"},
           {R"(mod("k") >"1")", R"(malformed comparison: mod("k") >"1"; got mod("k") >"1" "")"},
           {R"(mod("k" ) = "0")", R"(malformed comparison: mod("k" ) = "0"; got mod("k")  "")"},
           {R"(mod("k") = 1)", R"(malformed comparison: mod("k") = 1; got mod("k") = "")"},
           {R"(mod("k\q") = "1")", R"(malformed comparison: mod("k\q") = "1"; got mod("")  "")"},
           {R"(mod("k) = 1)", R"(malformed comparison: mod("k) = 1; got mod("")  "")"},
           {R"(mod ("k") = "1")", R"(malformed comparison: mod ("k") = "1" (unknown target mod ))"},
           {R"(mod("k") = "x")", R"(invalid txn compare request: mod("k") = "x")"},
           {R"(mod("k") >= "1")", R"(malformed comparison: mod("k") >= "1" (unknown operator >=))"},
       }) {
    CAPTURE(row.line);
    etcdserverpb::Compare compare;
    const Exit exit = parse_compare(row.line, compare);
    CHECK(exit.code == kExitInvalidInput);
    CHECK(exit.error == row.error);
  }
}

Exit parse(std::string_view line, etcdserverpb::RequestOp& request, std::string_view input = "") {
  std::istringstream in{std::string(input)};
  std::ostringstream out, err;
  Terminal terminal{in, out, err};
  return parse_request(line, terminal, request);
}

TEST_CASE("requests: what lines mean") {
  struct Row {
    const char* line;
    const char* request;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"put k v", R"(request_put { key: "k" value: "v" })"},
           {"p k v", R"(request_put { key: "k" value: "v" })"},
           {R"(put 'a b' "c\td" --lease=7f --prev-kv)",
            R"(request_put { key: "a b" value: "c\td" lease: 127 prev_kv: true })"},
           {R"(put k b"c"d)", R"(request_put { key: "k" value: "b\"c\"d" })"},
           {"put k -- -5", R"(request_put { key: "k" value: "-5" })"},
           {"put k --ignore-value", R"(request_put { key: "k" ignore_value: true })"},
           {"get k", R"(request_range { key: "k" })"},
           {"get a b", R"(request_range { key: "a" range_end: "b" })"},
           {"get k --prefix --limit 3 --order DESCEND --sort-by mod" "ify",
            R"(request_range { key: "k" range_end: "l" limit: 3 sort_order: DESCEND sort_target: MOD })"},
           {"get k --order ascend --consistency s", R"(request_range { key: "k" serializable: true })"},
           {R"(get "" --prefix)", R"(request_range { key: "\000" range_end: "\000" })"},
           {"get k --from-key --keys-only --rev 5",
            R"(request_range { key: "k" range_end: "\000" revision: 5 keys_only: true })"},
           {"get k --min-mod-rev 2 --max-mod-rev 3 --rev -5",
            R"(request_range { key: "k" min_mod_revision: 2 max_mod_revision: 3 })"},
           {"del k --prev-kv", R"(request_delete_range { key: "k" prev_kv: true })"},
           {R"(d "a\xff\xff" --prefix)", R"(request_delete_range { key: "a\377\377" range_end: "b" })"},
           {R"(del "\xff" --prefix)", R"(request_delete_range { key: "\377" range_end: "\000" })"},
           {"del a b --range", R"(request_delete_range { key: "a" range_end: "b" })"},
       }) {
    CAPTURE(row.line);
    etcdserverpb::RequestOp request;
    const Exit exit = parse(row.line, request);
    CHECK(exit.error == "");
    CHECK(request.ShortDebugString() == row.request);
  }
  etcdserverpb::RequestOp request;
  CHECK(parse("put k --prev-kv", request, "from\nstdin").code == kExitOk);
  CHECK(request.request_put().value() == "from\nstdin");
}

TEST_CASE("requests: what is wrong with a line, and how etcdctl exits") {
  struct Row {
    const char* line;
    int code;
    const char* error;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"get", kExitInvalidInput, "invalid txn compare request: get"},
           {"get \"", kExitInvalidInput, "invalid txn compare request: get \""},
           {R"(put "k\q" v)", kExitInvalidInput, "invalid syntax"},
           {"foo bar", kExitInvalidInput, "invalid txn request: foo bar"},
           {"put k v --foo", kExitInvalidInput, "invalid txn request: put k v --foo"},
           {"get k --limit=x", kExitInvalidInput, "invalid txn request: get k --limit=x"},
           {"put -h", kExitInvalidInput, "invalid txn request: put -h"},
           {"help put", kExitInvalidInput, "invalid txn request: help put"},
           {"put k v --lease=zz", kExitBadArguments,
            "bad lease ID (strconv.ParseInt: parsing \"zz\": invalid syntax), expecting ID in Hex"},
           {"put k --lease=1", kExitBadArguments, "put command needs 1 argument and input from stdin or 2 arguments"},
           {"get k --order x", kExitBadFeature, "bad sort order x"},
           {"get k --consistency x", kExitBadFeature, "unknown consistency flag \"x\""},
           {"get k --min-create-rev 3 --max-create-rev 2", kExitBadFeature, "getMinCreateRev(=3) > getMaxCreateRev(=2)"},
           {"del a b c", kExitBadArguments, "del command needs one argument as key and an optional argument as range_end"},
           {"del a b --prefix", kExitBadArguments,
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"},
       }) {
    CAPTURE(row.line);
    etcdserverpb::RequestOp request;
    const Exit exit = parse(row.line, request);
    CHECK(exit.code == row.code);
    CHECK(exit.error == row.error);
  }
}

}  // namespace
}  // namespace cli::ctl
