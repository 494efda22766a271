#include "cli/flag_set.h"

#include <doctest/doctest.h>

namespace cli {
namespace {

struct Values {
  bool on = false, high = false;
  std::string text = "simple";
  int64_t number = 0;
  uint64_t count = 1;
  double ratio = 1;
  base::Duration wait = std::chrono::seconds(5);
  std::vector<std::string> list{"127.0.0.1:2379"};
};

void add(FlagSet& flags, Values& values) {
  flags.add("on", &values.on, "turns it on", 'o');
  flags.add("high", &values.high, "turns it up", 'u');
  flags.add("write-out", &values.text, "the format", 'w');
  flags.add("limit", &values.number, "the most");
  flags.add("count", &values.count, "how many");
  flags.add("ratio", &values.ratio, "how much");
  flags.add("wait", &values.wait, "how long");
  flags.add("endpoints", &values.list, "where");
}

TEST_CASE("flags: what a line sets and what is left") {
  struct Row {
    std::vector<std::string> line;
    std::vector<std::string> rest;
    std::string text;
    int64_t number;
    bool on;
  };
  for (const Row& row : std::vector<Row>{
           {{"a", "--write-out", "json", "b"}, {"a", "b"}, "json", 0, false},
           {{"--write-out=json", "--limit=-7"}, {}, "json", -7, false},
           {{"-w", "json"}, {}, "json", 0, false},
           {{"-wjson"}, {}, "json", 0, false},
           {{"-w=json"}, {}, "json", 0, false},
           {{"-ow", "json"}, {}, "json", 0, true},
           {{"-uowjson"}, {}, "json", 0, true},
           {{"--on"}, {}, "simple", 0, true},
           {{"--on=f", "--on=T"}, {}, "simple", 0, true},
           {{"--on", "false"}, {"false"}, "simple", 0, true},
           {{"--limit", "-5"}, {}, "simple", -5, false},
           {{"--limit", "0x10"}, {}, "simple", 16, false},
           {{"--limit=1_000"}, {}, "simple", 1000, false},
           {{"--limit=1", "--limit=2"}, {}, "simple", 2, false},
           {{"k", "--", "--on", "-x"}, {"k", "--on", "-x"}, "simple", 0, false},
           {{"-", ""}, {"-", ""}, "simple", 0, false},
           {{"--write-out="}, {}, "", 0, false},
       }) {
    CAPTURE(row.line);
    Values values;
    FlagSet flags;
    add(flags, values);
    std::vector<std::string> rest;
    CHECK(parse_flags({&flags}, row.line, rest) == base::Status());
    CHECK(rest == row.rest);
    CHECK(values.text == row.text);
    CHECK(values.number == row.number);
    CHECK(values.on == row.on);
  }
}

TEST_CASE("flags: mistakes in pflag's words") {
  struct Row {
    std::vector<std::string> line;
    const char* error;
  };
  for (const Row& row : std::vector<Row>{
           {{"--foo"}, "unknown flag: --foo"},
           {{"--foo=1"}, "unknown flag: --foo"},
           {{"-x"}, "unknown shorthand flag: 'x' in -x"},
           {{"-ox1"}, "unknown shorthand flag: 'x' in -x1"},
           {{"-5"}, "unknown shorthand flag: '5' in -5"},
           {{"--limit"}, "flag needs an argument: --limit"},
           {{"-w"}, "flag needs an argument: 'w' in -w"},
           {{"-ow"}, "flag needs an argument: 'w' in -w"},
           {{"--=x"}, "bad flag syntax: --=x"},
           {{"---"}, "bad flag syntax: ---"},
           {{"--limit=x"}, R"(invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax)"},
           {{"--limit", ""}, R"(invalid argument "" for "--limit" flag: strconv.ParseInt: parsing "": invalid syntax)"},
           {{"--limit=9223372036854775808"},
            R"(invalid argument "9223372036854775808" for "--limit" flag: )"
            R"(strconv.ParseInt: parsing "9223372036854775808": value out of range)"},
           {{"--count=-1"}, R"(invalid argument "-1" for "--count" flag: strconv.ParseUint: parsing "-1": invalid syntax)"},
           {{"--on=maybe"},
            R"(invalid argument "maybe" for "-o, --on" flag: strconv.ParseBool: parsing "maybe": invalid syntax)"},
           {{"--ratio=x"}, R"(invalid argument "x" for "--ratio" flag: strconv.ParseFloat: parsing "x": invalid syntax)"},
           {{"--wait", "5"}, R"(invalid argument "5" for "--wait" flag: time: missing unit in duration "5")"},
           {{"--endpoints=a\"b"},
            R"(invalid argument "a\"b" for "--endpoints" flag: )"
            R"(parse error on line 1, column 2: bare " in non-quoted-field)"},
       }) {
    CAPTURE(row.line);
    Values values;
    FlagSet flags;
    add(flags, values);
    std::vector<std::string> rest;
    CHECK(parse_flags({&flags}, row.line, rest).text() == row.error);
  }
}

TEST_CASE("flags: a list's first use replaces the default, later ones add") {
  Values values;
  FlagSet flags;
  add(flags, values);
  std::vector<std::string> rest;
  REQUIRE(parse_flags({&flags}, {"--endpoints=a,b", "--endpoints", "\"c,d\",\"\"\"e\"\"\""}, rest).ok());
  CHECK(values.list == std::vector<std::string>{"a", "b", "c,d", "\"e\""});
  REQUIRE(parse_flags({&flags}, {"--endpoints="}, rest).ok());
  CHECK(values.list.size() == 4);
  CHECK(flags.changed("endpoints"));
  CHECK(!flags.changed("limit"));
}

TEST_CASE("flags: the help's columns") {
  Values values;
  FlagSet flags;
  add(flags, values);
  flags.find("count")->hidden = true;
  CHECK(flag_usages(flags) ==
        "      --endpoints strings   where (default [127.0.0.1:2379])\n"
        "  -u, --high                turns it up\n"
        "      --limit int           the most\n"
        "  -o, --on                  turns it on\n"
        "      --ratio float         how much (default 1)\n"
        "      --wait duration       how long (default 5s)\n"
        "  -w, --write-out string    the format (default \"simple\")\n");
}

TEST_CASE("flags: nearer sets win") {
  bool near = false, far = false;
  FlagSet own, parents;
  own.add("on", &near, "");
  parents.add("on", &far, "");
  std::vector<std::string> rest;
  REQUIRE(parse_flags({&own, &parents}, {"--on"}, rest).ok());
  CHECK(near);
  CHECK(!far);
}

TEST_CASE("parse_int: bases and Go's errors") {
  CHECK(*parse_int("7f", 16) == 127);
  CHECK(*parse_int("-7f", 16) == -127);
  CHECK(*parse_int("+12", 10) == 12);
  CHECK(parse_int("12x", 10).status().text() == "strconv.ParseInt: parsing \"12x\": invalid syntax");
  CHECK(parse_int("", 10).status().text() == "strconv.ParseInt: parsing \"\": invalid syntax");
  CHECK(parse_int("+-1", 10).status().text() == "strconv.ParseInt: parsing \"+-1\": invalid syntax");
  CHECK(parse_int("8000000000000000", 16).status().text() ==
        "strconv.ParseInt: parsing \"8000000000000000\": value out of range");
}

}  // namespace
}  // namespace cli
