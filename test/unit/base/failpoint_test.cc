#include "base/failpoint.h"

#include <doctest/doctest.h>

using base::failpoint::Act;
using base::failpoint::Action;
using base::failpoint::parse_terms;
using base::failpoint::ParsedTerms;
using base::failpoint::Registry;

namespace {

double never() { return 1.0; }

std::string shown(const Action& action) {
  static constexpr std::string_view kNames[] = {"missing", "off", "return", "sleep", "panic", "break", "print"};
  return std::string(kNames[static_cast<size_t>(action.act)]) + " " + to_text(action.value) +
         (action.sleep > base::Duration(0) ? " " + std::to_string(action.sleep.count()) : "");
}

// A loop whose time stands still until it is moved.
class StillLoop final : public base::Loop, private base::Clock {
 public:
  void post(std::function<void()> task) override { tasks_.push_back(std::move(task)); }
  base::TimerId at(base::Instant when, std::function<void()> task) override {
    due = when - now_;
    tasks_.push_back(std::move(task));
    return tasks_.size();
  }
  void cancel(base::TimerId) override {}
  const base::Clock& clock() const override { return *this; }
  void run() {
    for (auto& task : std::exchange(tasks_, {})) task();
  }
  base::Duration due{0};

 private:
  base::Instant now() const override { return now_; }
  int64_t unix_ns() const override { return 0; }
  base::Instant now_{};
  std::vector<std::function<void()>> tasks_;
};

}  // namespace

TEST_CASE("failpoint: terms that gofail takes, and what comes first") {
  struct Row {
    const char* text;
    const char* first;
  };
  for (const Row& row : {Row{"panic", "panic {}"},
                         Row{"off", "off {}"},
                         Row{"print", "print {}"},
                         Row{"break", "break {}"},
                         Row{"return", "return {}"},
                         Row{"return()", "return {}"},
                         Row{"return(\"a b\")", "return a b"},
                         Row{"return(`x`)", "return x"},
                         Row{"return(-5)", "return -5"},
                         Row{"return(true)", "return true"},
                         Row{"return(false)", "return false"},
                         Row{"return(5x", "return 5"},          // The last character is not looked at,
                         Row{"return(abcde)", "return false"},  // and what is no number is false, five letters long.
                         Row{"sleep(10)", "sleep 10 10000000"},
                         Row{"sleep(\"1m2.5s\")", "sleep 1m2.5s 62500000000"},
                         Row{"sleep(\"soon\")", "sleep soon"},
                         Row{"sleep", "sleep {}"},
                         Row{"off->panic", "off <nil>"},
                         Row{"panic->off", "panic <nil>"},
                         Row{"off->", "off <nil>"},
                         Row{"0*panic->off", "off {}"},
                         Row{"1*2*panic", "panic {}"},
                         Row{"50.0%panic->off", "off {}"},
                         Row{"50.%panic->off", "off {}"},
                         Row{"100.0%panic->off", "panic <nil>"},
                         Row{"3*0.5%panic->print", "print {}"},
                         Row{"(1)", "missing 1"},
                         Row{"5*", "missing {}"}}) {
    CAPTURE(row.text);
    const ParsedTerms parsed = parse_terms(row.text);
    REQUIRE(parsed.terms != nullptr);
    CHECK(shown(parsed.terms->evaluate(never)) == row.first);
    CHECK(parsed.terms->text() == row.text);
    CHECK(parsed.terms->count() == 1);
  }
}

TEST_CASE("failpoint: terms that gofail does not take, and its words") {
  struct Row {
    const char* text;
    const char* complaint;
  };
  for (const Row& row :
       {Row{"", ""}, Row{"bogus", R"~(failed to parse "bogus" past "bogus")~"},
        Row{"50%off", R"~(failed to parse "50%off" past "50%off")~"},
        Row{"1.5*off", R"~(failed to parse "1.5*off" past "1.5*off")~"},
        Row{"99999999999999999999*off", R"~(failed to parse "99999999999999999999*off" past "99999999999999999999*off")~"},
        Row{"off-", R"~(failed to parse "off-" past "-")~"}, Row{"off ", R"~(failed to parse "off " past " ")~"},
        Row{" off", R"~(failed to parse " off" past " off")~"},
        Row{"offpanic", R"~(failed to parse "offpanic" past "panic", expected "->")~"},
        Row{"return(", R"~(failed to parse "return(" past "(")~"},
        Row{"return( 5)", R"~(failed to parse "return( 5)" past ")")~"},
        Row{"return(+5)", R"~(failed to parse "return(+5)" past ")")~"},
        Row{"return(007)", R"~(failed to parse "return(007)" past "7)", expected "->")~"},
        Row{"return(5.5)", R"~(failed to parse "return(5.5)" past "5)", expected "->")~"},
        Row{"return(\"a\\\"b\")", R"~(failed to parse "return(\"a\\\"b\")" past ")")~"},
        Row{"return(99999999999999999999)",
            R"~(failed to parse "return(99999999999999999999)" past "99999999999999)", expected "->")~"}}) {
    CAPTURE(row.text);
    const ParsedTerms parsed = parse_terms(row.text);
    CHECK(parsed.terms == nullptr);
    CHECK(!parsed.beyond_end);
    CHECK(parsed.complaint == row.complaint);
  }
  for (const char* text : {"return(5", "return(t)", "return(\"a)", "sleep(abc)"}) {
    CAPTURE(text);
    CHECK(parse_terms(text).beyond_end);
  }
}

TEST_CASE("failpoint: counts run out, chances are drawn, only what acts is counted") {
  const ParsedTerms counted = parse_terms("2*return(1)->1*return(2)");
  std::string story;
  for (int i = 0; i < 5; ++i) story += shown(counted.terms->evaluate(never)) + ";";
  CHECK(story == "return 1;return 1;return 2;off <nil>;off <nil>;");
  CHECK(counted.terms->count() == 3);

  const ParsedTerms drawn = parse_terms("25.0%return(1)");
  double next = 0;
  int acted = 0;
  for (int i = 0; i < 100; ++i, next += 0.01) {
    if (drawn.terms->evaluate([&next] { return next; }).act == Act::kReturn) ++acted;
  }
  CHECK(acted >= 25);
  CHECK(acted <= 26);
}

TEST_CASE("failpoint: requests and their answers, as gofail's") {
  Registry registry;
  std::string error;
  CHECK(!registry.preset("a=b=c", &error));
  CHECK(error == R"(bad failpoint "a=b=c")");
  CHECK(!registry.preset("a", &error));
  REQUIRE(registry.preset(";second=sleep(1);;third=bogus", &error));
  base::failpoint::Point first("first", registry), second("second", registry), third("third", registry);
  CHECK(second.armed());
  CHECK(!third.armed());

  struct Row {
    const char *method, *target, *body;
    int status;
    const char* answer;
  };
  for (const Row& row : {
           Row{"GET", "/", "", 200, "first=\nsecond=sleep(1)\nthird=\n"},
           Row{"PUT", "/first", "return(\"x\")", 204, ""},
           Row{"GET", "/first", "", 200, "return(\"x\")\n"},
           Row{"GET", "/first/count", "", 200, "0"},
           Row{"PUT", "/first", "bogus", 400, "fail to set failpoint: failpoint: could not parse terms\n"},
           Row{"PUT", "/first", "return(5", 200, ""},
           Row{"GET", "/first", "", 200, "return(\"x\")\n"},
           Row{"PUT", "/nope", "off", 400, "fail to set failpoint: failpoint: failpoint does not exist\n"},
           Row{"GET", "/nope", "", 404, "failed to GET: failpoint: failpoint does not exist\n\n"},
           Row{"GET", "/nope/count", "", 404, "failed to GET: failpoint: failpoint does not exist\n"},
           Row{"GET", "/third", "", 404, "failed to GET: failpoint: failpoint is disabled\n\n"},
           Row{"GET", "/third/count", "", 500, "failed to GET: failpoint: failpoint is disabled\n"},
           Row{"DELETE", "/nope", "", 400, "failed to delete failpoint failpoint: failpoint does not exist\n"},
           Row{"DELETE", "/second", "", 204, ""},
           Row{"DELETE", "/second", "", 400, "failed to delete failpoint failpoint: failpoint is disabled\n"},
           Row{"PUT", "/FailPoints", "second=off;third=print", 204, ""},
           Row{"PUT", "/failpoints", "second=off;third", 400, "fail to parse failpoint: bad failpoint \"third\"\n"},
           Row{"PUT", "first", "off", 400, "malformed request URI\n"},
           Row{"POST", "/first", "", 405, "Method not allowed\n"},
           Row{"GET", "/", "", 200, "first=return(\"x\")\nsecond=off\nthird=print\n"},
       }) {
    CAPTURE(row.method);
    CAPTURE(row.target);
    CAPTURE(row.body);
    const Registry::Answer answer = registry.answer(row.method, row.target, row.body);
    CHECK(answer.status == row.status);
    CHECK(answer.body == row.answer);
    CHECK(answer.allow == (row.status == 405));
  }
  CHECK(first.hit_for_text() == "x");
  CHECK(registry.answer("GET", "/first/count", "").body == "1");
  CHECK(registry.answer("PUT", "/first", "return(5)").status == 204);
  CHECK(!first.hit_for_text());  // A number where a text is wanted.
  CHECK(first.hit().has_value());
}

TEST_CASE("failpoint: a gate holds up what goes through it for as long as a sleep, then lets it through once") {
  Registry registry;
  base::failpoint::Point point("p", registry);
  StillLoop loop;
  base::failpoint::LoopGate gate;
  int resumed = 0;
  const auto resume = [&resumed] { ++resumed; };
  CHECK(gate.pass(point, loop, resume));
  REQUIRE(registry.answer("PUT", "/p", "sleep(70)").status == 204);
  CHECK(!gate.pass(point, loop, resume));
  CHECK(gate.closed());
  CHECK(loop.due == std::chrono::milliseconds(70));
  CHECK(!gate.pass(point, loop, resume));  // Not asked again while closed.
  CHECK(registry.answer("GET", "/p/count", "").body == "1");
  loop.run();
  CHECK(resumed == 1);
  CHECK(!gate.closed());
  CHECK(gate.reopened());
  CHECK(gate.pass(point, loop, resume));
  CHECK(!gate.reopened());
  CHECK(!gate.pass(point, loop, resume));  // The next one is held up again.
}
