// Command-line flags as Go's flag package reads them: -f v, --f=v, booleans without a value, the last one wins, "--" and the
// first plain word end the flags. Values are read as Go's strconv and time read them, with its error texts, because scripts
// and people match those. Pure; any thread. Source of behaviour: Go flag, strconv, time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace base::flags {

// Go's strconv.Quote (%q): "a\"b\n\x00".
std::string quote(std::string_view text);

// 1 t T TRUE true True, 0 f F FALSE false False.
Result<bool> parse_bool(std::string_view text);
// Base from the prefix (0x, 0o, 0, 0b), underscores between digits. Errors: `parse error`, `value out of range`.
Result<int64_t> parse_int(std::string_view text);
Result<uint64_t> parse_uint(std::string_view text, int bits = 64);
// "1h15m30.5s" in nanoseconds. Errors as Go's: `time: missing unit in duration "5"`.
Result<int64_t> parse_duration(std::string_view text);

struct Flag {
  std::string name;
  bool is_boolean = false;  // may stand without a value
  // Takes the value; an error is printed after `invalid value "v" for flag -name: `.
  std::function<Status(std::string_view)> set;
};

class FlagSet {
 public:
  enum class Outcome { kOk, kHelp, kError };
  struct Parsed {
    Outcome outcome = Outcome::kOk;
    std::string error;              // kError: Go's line, e.g. `flag provided but not defined: -x`
    std::vector<std::string> rest;  // what came after the flags
  };

  // REQUIRES: the name is new.
  void add(Flag flag);
  // Stops at the first error; what came before it stays set.
  Parsed parse(std::span<const std::string> arguments);
  // As from the command line, for values from elsewhere. REQUIRES: the flag exists.
  Status set(std::string_view name, std::string_view value);
  bool has(std::string_view name) const { return flags_.contains(name); }
  bool is_set(std::string_view name) const { return set_.contains(name); }
  const std::set<std::string, std::less<>>& names_set() const { return set_; }
  // All names, sorted.
  const std::map<std::string, Flag, std::less<>>& all() const { return flags_; }

 private:
  std::map<std::string, Flag, std::less<>> flags_;
  std::set<std::string, std::less<>> set_;
};

// ETCD_ + upper case with '-' as '_'.
std::string environment_name(std::string_view prefix, std::string_view flag);

}  // namespace base::flags
