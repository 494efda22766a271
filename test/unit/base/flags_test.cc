#include "base/flags.h"

#include <doctest/doctest.h>

using base::Status;
using base::flags::FlagSet;

namespace {

// One text flag and one switch, and what they were set to.
struct Probe {
  std::string name;
  bool on = false;
  FlagSet flags;

  Probe() {
    flags.add({"name", false, [this](std::string_view value) {
                 name = value;
                 return Status();
               }});
    flags.add({"on", true, [this](std::string_view value) {
                 const base::Result<bool> parsed = base::flags::parse_bool(value);
                 if (parsed.ok()) on = *parsed;
                 return parsed.status();
               }});
  }
  FlagSet::Parsed parse(std::vector<std::string> words) { return flags.parse(words); }
};

}  // namespace

TEST_CASE("flags: the forms Go takes") {
  struct Row {
    const char* rule;
    std::vector<std::string> words;
    const char* name;
    bool on;
    std::vector<std::string> rest;
  };
  for (const Row& row : {Row{"two dashes, two words", {"--name", "a"}, "a", false, {}},
                         Row{"one dash, equals", {"-name=a"}, "a", false, {}},
                         Row{"empty value", {"--name="}, "", false, {}},
                         Row{"value with equals", {"--name=a=b"}, "a=b", false, {}},
                         Row{"a value may look like a flag", {"--name", "--on"}, "--on", false, {}},
                         Row{"last wins", {"--name=a", "--name=b"}, "b", false, {}},
                         Row{"switch alone", {"--on"}, "", true, {}},
                         Row{"switch off", {"--on", "--on=F"}, "", false, {}},
                         Row{"a switch takes no second word", {"--on", "false"}, "", true, {"false"}},
                         Row{"plain word ends", {"x", "--on"}, "", false, {"x", "--on"}},
                         Row{"dash alone is a word", {"-", "--on"}, "", false, {"-", "--on"}},
                         Row{"two dashes end", {"--on", "--", "--name=a"}, "", true, {"--name=a"}}}) {
    CAPTURE(row.rule);
    Probe probe;
    const FlagSet::Parsed parsed = probe.parse(row.words);
    CHECK(parsed.outcome == FlagSet::Outcome::kOk);
    CHECK(probe.name == row.name);
    CHECK(probe.on == row.on);
    CHECK(parsed.rest == row.rest);
  }
}

TEST_CASE("flags: mistakes and their texts") {
  struct Row {
    std::vector<std::string> words;
    const char* error;
  };
  for (const Row& row : {Row{{"--foo"}, "flag provided but not defined: -foo"},
                         Row{{"-foo=1"}, "flag provided but not defined: -foo"},
                         Row{{"--name"}, "flag needs an argument: -name"},
                         Row{{"---name=a"}, "bad flag syntax: ---name=a"},
                         Row{{"--=a"}, "bad flag syntax: --=a"},
                         Row{{"--on=maybe"}, "invalid boolean value \"maybe\" for -on: parse error"}}) {
    Probe probe;
    const FlagSet::Parsed parsed = probe.parse(row.words);
    CHECK(parsed.outcome == FlagSet::Outcome::kError);
    CHECK(parsed.error == row.error);
  }
  for (const char* help : {"-h", "--help", "-h=1"}) CHECK(Probe().parse({help}).outcome == FlagSet::Outcome::kHelp);
}

TEST_CASE("flags: what was set is known") {
  Probe probe;
  CHECK(probe.parse({"--on=false"}).outcome == FlagSet::Outcome::kOk);
  CHECK(probe.flags.is_set("on"));
  CHECK(!probe.flags.is_set("name"));
  CHECK(!probe.flags.set("on", "x").ok());
}

TEST_CASE("flags: numbers as strconv reads them") {
  struct Row {
    const char* text;
    int64_t value;
    const char* error;
  };
  for (const Row& row : {Row{"0", 0, ""},
                         Row{"10", 10, ""},
                         Row{"-10", -10, ""},
                         Row{"+7", 7, ""},
                         Row{"0x1F", 31, ""},
                         Row{"0b101", 5, ""},
                         Row{"0o17", 15, ""},
                         Row{"017", 15, ""},
                         Row{"1_000", 1000, ""},
                         Row{"0x_1", 1, ""},
                         Row{"9223372036854775807", INT64_MAX, ""},
                         Row{"-9223372036854775808", INT64_MIN, ""},
                         Row{"9223372036854775808", 0, "value out of range"},
                         Row{"-9223372036854775809", 0, "value out of range"},
                         Row{"", 0, "parse error"},
                         Row{"0x", 0, "parse error"},
                         Row{"08", 0, "parse error"},
                         Row{"1_", 0, "parse error"},
                         Row{"_1", 0, "parse error"},
                         Row{"1__0", 0, "parse error"},
                         Row{"1.5", 0, "parse error"},
                         Row{" 1", 0, "parse error"},
                         Row{"1e3", 0, "parse error"}}) {
    CAPTURE(row.text);
    const base::Result<int64_t> parsed = base::flags::parse_int(row.text);
    CHECK(std::string(parsed.status().text()) == row.error);
    if (parsed.ok()) CHECK(*parsed == row.value);
  }
  CHECK(*base::flags::parse_uint("18446744073709551615") == UINT64_MAX);
  CHECK(base::flags::parse_uint("18446744073709551616").status().text() == "value out of range");
  CHECK(base::flags::parse_uint("-1").status().text() == "parse error");
  CHECK(*base::flags::parse_uint("4294967295", 32) == UINT32_MAX);
  CHECK(base::flags::parse_uint("4294967296", 32).status().text() == "value out of range");
}

TEST_CASE("flags: durations as time.ParseDuration reads them") {
  struct Row {
    const char* text;
    int64_t ns;
    const char* error;
  };
  for (const Row& row : {Row{"0", 0, ""},
                         Row{"5s", 5000000000, ""},
                         Row{"-1.5h", -5400000000000, ""},
                         Row{"1h15m30.918273645s", 4530918273645, ""},
                         Row{".5ms", 500000, ""},
                         Row{"1.s", 1000000000, ""},
                         Row{"3us", 3000, ""},
                         Row{"3µs", 3000, ""},
                         Row{"2562047h47m16.854775807s", INT64_MAX, ""},
                         Row{"-2562047h47m16.854775808s", INT64_MIN, ""},
                         Row{"2562047h47m16.854775808s", 0, "time: invalid duration \"2562047h47m16.854775808s\""},
                         Row{"", 0, "time: invalid duration \"\""},
                         Row{"-", 0, "time: invalid duration \"-\""},
                         Row{".s", 0, "time: invalid duration \".s\""},
                         Row{"s", 0, "time: invalid duration \"s\""},
                         Row{"5", 0, "time: missing unit in duration \"5\""},
                         Row{"1h1", 0, "time: missing unit in duration \"1h1\""},
                         Row{"5d", 0, "time: unknown unit \"d\" in duration \"5d\""},
                         Row{"99999999999999999999s", 0, "time: invalid duration \"99999999999999999999s\""}}) {
    CAPTURE(row.text);
    const base::Result<int64_t> parsed = base::flags::parse_duration(row.text);
    CHECK(std::string(parsed.status().text()) == row.error);
    if (parsed.ok()) CHECK(*parsed == row.ns);
  }
}

TEST_CASE("flags: quoting as %q") {
  using base::flags::quote;
  CHECK(quote("a\"b\\c") == R"("a\"b\\c")");
  CHECK(quote("\a\b\t\n\v\f\r") == R"("\a\b\t\n\v\f\r")");
  CHECK(quote(std::string_view("\0\x01\x7f", 3)) == R"("\x00\x01\x7f")");
  CHECK(quote("é\xff") == "\"é\\xff\"");
  CHECK(quote("\u00a0\u2028") == R"("\u00a0\u2028")");
  CHECK(quote("\xed\xa0\x80") == R"("\xed\xa0\x80")");  // half of a surrogate pair is no character
}

TEST_CASE("flags: environment names") {
  CHECK(base::flags::environment_name("ETCD", "initial-cluster-state") == "ETCD_INITIAL_CLUSTER_STATE");
  CHECK(base::flags::environment_name("ETCD", "test.outputdir") == "ETCD_TEST.OUTPUTDIR");
}
