#include "cli/ctl/txn_grammar.h"

#include <optional>
#include <ostream>

#include "base/flags.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/requests.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

using base::flags::quote;
using etcdserverpb::Compare;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r'; }

void skip_space(std::string_view& text) {
  while (!text.empty() && is_space(text[0])) text.remove_prefix(1);
}

// Length of the string literal that `text` begins with; 0 if it does not end.
size_t literal_size(std::string_view text) {
  const char quote_mark = text[0];
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote_mark) return i + 1;
    if (quote_mark == '"' && text[i] == '\\') ++i;
  }
  return 0;
}

// What Go's Sscanf("%q) %s %q") gets out of the text behind the parenthesis.
struct Scanned {
  std::string key, op, value;
  int fields = 0;  // how many of the three
};

bool scan_quoted(std::string_view& text, std::string& out) {
  skip_space(text);
  if (text.empty() || (text[0] != '"' && text[0] != '`')) return false;
  const size_t size = literal_size(text);
  if (size == 0) return false;
  base::Result<std::string> inside = unquote(text.substr(0, size));
  if (!inside.ok()) return false;
  out = std::move(*inside);
  text.remove_prefix(size);
  return true;
}

Scanned scan_compare(std::string_view text) {
  Scanned scanned;
  if (!scan_quoted(text, scanned.key)) return scanned;
  scanned.fields = 1;
  if (!text.starts_with(')')) return scanned;
  text.remove_prefix(1);
  if (!text.empty() && !is_space(text[0])) return scanned;
  skip_space(text);
  while (!text.empty() && !is_space(text[0])) {
    scanned.op += text[0];
    text.remove_prefix(1);
  }
  if (scanned.op.empty()) return scanned;
  scanned.fields = 2;
  if (scan_quoted(text, scanned.value)) scanned.fields = 3;
  return scanned;
}

std::optional<Compare::CompareResult> result_of(std::string_view op) {
  if (op == "=") return Compare::EQUAL;
  if (op == "!=") return Compare::NOT_EQUAL;
  if (op == ">") return Compare::GREATER;
  if (op == "<") return Compare::LESS;
  return std::nullopt;
}

Exit bad_input(std::string text) { return fail(kExitInvalidInput, std::move(text)); }

// False if the number does not parse.
bool set_target(std::string_view target, const std::string& value, Compare& compare, bool& known) {
  known = true;
  if (target == "val" || target == "value") {
    compare.set_target(Compare::VALUE);
    compare.set_value(value);
    return true;
  }
  const base::Result<int64_t> number = parse_int(value, target == "lease" ? 16 : 10);
  const int64_t n = number.ok() ? *number : 0;
  if (target == "ver" || target == "version") {
    compare.set_target(Compare::VERSION);
    compare.set_version(n);
  } else if (target == "c" || target == "create") {
    compare.set_target(Compare::CREATE);
    compare.set_create_revision(n);
  } else if (target == "m" || target == "mod") {
    compare.set_target(Compare::MOD);
    compare.set_mod_revision(n);
  } else if (target == "lease") {  // etcdctl 3.7.1 dies of this one; ids are in hexadecimal as everywhere in it
    compare.set_target(Compare::LEASE);
    compare.set_lease(n);
  } else {
    known = false;
  }
  return number.ok();
}

// The three commands that a transaction may hold; each leaves its request in `request`.
std::unique_ptr<Command> make_request_commands(etcdserverpb::RequestOp& request, bool& parsed) {
  auto root = std::make_unique<Command>("", "");
  root->silent_errors = true;
  root->prefix_matching = true;
  Command& put = root->add(make_put_command());
  put.run = [&request, &parsed, options = static_cast<PutOptions*>(put.state.get())](const Invocation& invocation) {
    parsed = true;
    return make_put_request(*options, invocation.arguments, invocation.terminal, *request.mutable_request_put());
  };
  Command& get = root->add(make_get_command());
  get.run = [&request, &parsed, options = static_cast<GetOptions*>(get.state.get())](const Invocation& invocation) {
    parsed = true;
    return make_range_request(*options, invocation.arguments, *request.mutable_request_range());
  };
  Command& del = root->add(make_del_command());
  del.run = [&request, &parsed, options = static_cast<DelOptions*>(del.state.get())](const Invocation& invocation) {
    parsed = true;
    return make_delete_request(*options, invocation.arguments, invocation.terminal, *request.mutable_request_delete_range());
  };
  return root;
}

}  // namespace

Exit split_words(std::string_view line, std::vector<std::string>& words) {
  while (true) {
    skip_space(line);
    if (line.empty()) return Exit();
    size_t size = 0;
    if (line[0] == '\'' || line[0] == '"') {
      size = line[0] == '"' ? literal_size(line) : line.find('\'', 1) + 1;  // npos + 1 is 0
      if (size == 0) {
        line.remove_prefix(1);  // a quote that nothing closes is no part of a word
        continue;
      }
      if (line[0] == '\'') {
        words.emplace_back(line.substr(1, size - 2));
      } else {
        base::Result<std::string> inside = unquote(line.substr(0, size));
        if (!inside.ok()) return bad_input(std::string(inside.status().text()));
        words.push_back(std::move(*inside));
      }
    } else {
      while (size < line.size() && !is_space(line[size])) ++size;
      words.emplace_back(line.substr(0, size));
    }
    line.remove_prefix(size);
  }
}

Exit parse_compare(std::string_view line, Compare& compare) {
  const std::string malformed = "malformed comparison: " + std::string(line);
  const size_t open = line.find('(');
  if (open == std::string_view::npos) return bad_input(malformed);
  const std::string target(line.substr(0, open));
  const Scanned scanned = scan_compare(line.substr(open + 1));
  if (scanned.fields != 3) {
    return bad_input(malformed + "; got " + target + "(" + quote(scanned.key) + ") " + scanned.op + " " + quote(scanned.value));
  }
  bool known = false;
  const bool number_ok = set_target(target, scanned.value, compare, known);
  if (!known) return bad_input(malformed + " (unknown target " + target + ")");
  if (!number_ok) return bad_input("invalid txn compare request: " + std::string(line));
  const std::optional<Compare::CompareResult> result = result_of(scanned.op);
  if (!result) return bad_input(malformed + " (unknown operator " + scanned.op + ")");
  compare.set_result(*result);
  compare.set_key(scanned.key);
  return Exit();
}

Exit parse_request(std::string_view line, Terminal& terminal, etcdserverpb::RequestOp& request) {
  std::vector<std::string> words;
  if (Exit exit = split_words(line, words); exit.code != kExitOk) return exit;
  if (words.size() < 2) return bad_input("invalid txn compare request: " + std::string(line));
  bool parsed = false;
  const std::unique_ptr<Command> commands = make_request_commands(request, parsed);
  Executed executed = execute(*commands, words, terminal);
  if (executed.usage_error || !parsed) return bad_input("invalid txn request: " + std::string(line));
  return std::move(executed.exit);
}

}  // namespace cli::ctl
