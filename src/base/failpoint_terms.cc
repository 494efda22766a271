#include "base/failpoint_terms.h"

#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include "base/flags.h"

namespace base::failpoint {

namespace {

constexpr std::pair<std::string_view, Act> kActs[] = {{"off", Act::kOff},     {"return", Act::kReturn}, {"sleep", Act::kSleep},
                                                      {"panic", Act::kPanic}, {"break", Act::kBreak},   {"print", Act::kPrint}};

size_t digits(std::string_view text) {
  size_t length = 0;
  while (length < text.size() && text[length] >= '0' && text[length] <= '9') ++length;
  return length;
}

std::string_view without_spaces(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\r')) text.remove_prefix(1);
  return text;
}

// Go's Sscanf(%q). A text with an escape is shorter than its spelling, so what follows is never understood: none is given here.
std::optional<std::string> scan_quoted(std::string_view text) {
  text = without_spaces(text);
  if (text.empty() || (text.front() != '"' && text.front() != '`')) return std::nullopt;
  const char quote = text.front();
  const size_t end = text.find(quote, 1);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view inside = text.substr(1, end - 1);
  if (quote == '"' && inside.find_first_of("\\\n") != std::string_view::npos) return std::nullopt;
  return std::string(inside);
}

// Sscanf(%d).
std::optional<int64_t> scan_number(std::string_view text) {
  text = without_spaces(text);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// Sscanf(%t): what begins with neither t nor f is false.
std::optional<bool> scan_bool(std::string_view text) {
  text = without_spaces(text);
  if (text.empty() || text.front() == '\n') return std::nullopt;
  const auto goes_on = [&text](std::string_view rest) {
    for (size_t i = 0; i < rest.size(); ++i) {
      if (text.size() > i + 1 && std::tolower(static_cast<unsigned char>(text[i + 1])) == rest[i]) continue;
      return i == 0;  // A letter alone will do.
    }
    return true;
  };
  const char first = text.front();
  if (first == 't' || first == 'T') return goes_on("rue") ? std::optional<bool>(true) : std::nullopt;
  if (first == 'f' || first == 'F') return goes_on("alse") ? std::optional<bool>(false) : std::nullopt;
  return first == '1';
}

}  // namespace

struct TermsParser {
  std::string_view text;
  bool beyond_end = false;

  using Term = Terms::Term;
  using Condition = Terms::Condition;

  // The length of `50.0%` and `3*` at the start; 0 if what begins as a number is neither.
  size_t conditions(std::string_view in, std::vector<Condition>* out) {
    size_t taken = 0;
    for (;;) {
      const std::string_view rest = in.substr(taken);
      size_t length = digits(rest);
      if (length == 0) return taken;
      Condition condition;
      condition.is_count = true;
      if (std::from_chars(rest.data(), rest.data() + length, condition.left).ec != std::errc()) return taken;
      if (length < rest.size() && rest[length] == '.') {
        condition.is_count = false;
        length += 1 + digits(rest.substr(length + 1));
        const std::string_view number = rest.substr(0, rest[length - 1] == '.' ? length - 1 : length);
        double percent = 0;
        std::from_chars(number.data(), number.data() + number.size(), percent);
        condition.probability = percent / 100.0;
      }
      if (length == rest.size() || rest[length] != (condition.is_count ? '*' : '%')) {
        out->clear();
        return 0;
      }
      out->push_back(condition);
      taken += length + 1;
    }
  }

  size_t act(std::string_view in, Act* out) {
    for (const auto& [name, act] : kActs) {
      if (!in.starts_with(name)) continue;
      *out = act;
      return name.size();
    }
    return 0;
  }

  size_t value(std::string_view in, Value* out) {
    if (in.empty()) {
      *out = Nothing();
      return 0;
    }
    *out = NoValue();
    if (in.size() == 1 || in.front() != '(') return 0;
    if (in[1] == ')') {
      *out = Nothing();
      return 2;
    }
    size_t length = 0;
    const std::string_view inside = in.substr(1);
    if (std::optional<std::string> quoted = scan_quoted(inside)) {
      length = quoted->size() + 4;
      *out = std::move(*quoted);
    } else if (const std::optional<int64_t> number = scan_number(inside)) {
      length = std::to_string(*number).size() + 2;
      *out = *number;
    } else if (const std::optional<bool> yes = scan_bool(inside)) {
      length = (*yes ? 4 : 5) + 2;
      *out = *yes;
    }
    if (length > in.size()) beyond_end = true;
    return std::min(length, in.size());
  }

  size_t term(std::string_view in, Term* out) {
    size_t taken = conditions(in, &out->conditions);
    taken += act(in.substr(taken), &out->act);
    return taken + value(in.substr(taken), &out->value);
  }

  ParsedTerms run() {
    ParsedTerms parsed;
    auto terms = std::make_unique<Terms>();
    terms->text_ = text;
    std::string_view rest = text;
    const auto complain = [&](std::string_view more) {
      parsed.complaint = "failed to parse " + flags::quote(text) + " past " + flags::quote(rest) + std::string(more);
      return std::move(parsed);
    };
    while (!rest.empty()) {
      Term one;
      const size_t length = term(rest, &one);
      if (beyond_end) {
        parsed.beyond_end = true;
        return parsed;
      }
      if (length == 0) return complain("");
      terms->chain_.push_back(std::move(one));
      rest.remove_prefix(length);
      if (rest.size() < 2) continue;
      if (!rest.starts_with("->")) return complain(", expected \"->\"");
      rest.remove_prefix(2);
    }
    if (!terms->chain_.empty()) parsed.terms = std::move(terms);
    return parsed;
  }
};

ParsedTerms parse_terms(std::string_view text) { return TermsParser{text}.run(); }

std::string to_text(const Value& value) {
  if (std::holds_alternative<Nothing>(value)) return "{}";
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  if (const auto* yes = std::get_if<bool>(&value)) return *yes ? "true" : "false";
  return "<nil>";
}

Action Terms::evaluate(const std::function<double()>& chance) {
  const auto allows = [&chance](Condition& condition) {
    if (!condition.is_count) return chance() <= condition.probability;
    return condition.left > 0 && condition.left-- > 0;
  };
  for (Term& term : chain_) {
    bool allowed = true;
    for (Condition& condition : term.conditions) {
      if (!allows(condition)) {
        allowed = false;
        break;
      }
    }
    if (!allowed) continue;
    ++count_;
    Action action{term.act, term.value, Duration(0)};
    if (term.act != Act::kSleep) return action;
    if (const auto* ms = std::get_if<int64_t>(&term.value)) action.sleep = std::chrono::milliseconds(*ms);
    if (const auto* text = std::get_if<std::string>(&term.value)) {
      const Result<int64_t> ns = flags::parse_duration(*text);
      if (ns.ok()) action.sleep = Duration(*ns);
    }
    return action;
  }
  return {};
}

}  // namespace base::failpoint
