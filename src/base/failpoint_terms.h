// What a failpoint is told to do, in gofail's words: `2*sleep(10)->50.0%return("x")->panic`. A chain of terms; the first whose
// conditions hold acts. Pure. Source: gofail 0.2.0 runtime/terms.go, odd corners included (see parse_terms).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"

namespace base::failpoint {

// kMissing: `(1)` or `5*` alone, which gofail takes and dies of when it comes to it.
enum class Act { kMissing, kOff, kReturn, kSleep, kPanic, kBreak, kPrint };

struct Nothing {};  // nothing in brackets: Go's struct{}{}
struct NoValue {};  // something other than brackets followed: Go's nil
using Value = std::variant<NoValue, Nothing, std::string, int64_t, bool>;

// As Go's %v prints it.
std::string to_text(const Value& value);

// What is to be done now.
struct Action {
  Act act = Act::kOff;
  Value value;
  Duration sleep{0};  // kSleep; zero if the value is none: it is told on standard output, as by gofail
};

class Terms {
 public:
  // `chance` in [0, 1). Counts the terms that acted.
  Action evaluate(const std::function<double()>& chance);
  const std::string& text() const { return text_; }
  uint64_t count() const { return count_; }

 private:
  friend struct TermsParser;
  struct Condition {
    bool is_count = false;
    int64_t left = 0;        // is_count: so often
    double probability = 0;  // else
  };
  struct Term {
    std::vector<Condition> conditions;
    Act act = Act::kMissing;
    Value value;
  };

  std::string text_;
  std::vector<Term> chain_;
  uint64_t count_ = 0;
};

struct ParsedTerms {
  std::unique_ptr<Terms> terms;  // null: not understood
  bool beyond_end = false;       // gofail reads beyond the text here and its request dies without an answer
  std::string complaint;         // what gofail prints then, may be empty
};

// A value in brackets is as long as its usual spelling, whatever stands there: `(007)` is read as `(7)` and leaves `7)` over,
// and any word that is no number is `false`.
ParsedTerms parse_terms(std::string_view text);

}  // namespace base::failpoint
