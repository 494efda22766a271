// Flags of one command as pflag reads and shows them: --name value, --name=value, -n value, -nvalue, -n=value, -ab for
// booleans, mixed with plain arguments, "--" ends them. Error texts and the help layout are pflag's: users and scripts know
// them. CLI11 keeps neither the texts nor the order in which errors are met, so it is not used. Pure; any thread.
// Source of behaviour: spf13/pflag.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace cli {

struct Flag {
  std::string name;
  char shorthand = 0;
  std::string type;  // as the help shows it; empty for booleans
  std::string usage;
  std::string default_text;  // "": not shown
  std::vector<std::string> values = {};  // offered by completion
  bool is_boolean = false;
  bool hidden = false;
  bool required = false;  // execute() refuses a command line without it
  bool changed = false;
  std::function<base::Status(std::string_view)> set;  // the Status' text follows `invalid argument "x" for "--name" flag: `
  std::function<std::string()> text;                  // the value as Go prints it
};

// What a flag may be called in an error: "-w, --write-out" or "--hex".
std::string flag_label(const Flag& flag);

class FlagSet {
 public:
  // The value that the target holds now is the default. The target must outlive the set. REQUIRES: the name is new.
  Flag& add(std::string name, bool* target, std::string usage, char shorthand = 0);
  Flag& add(std::string name, std::string* target, std::string usage, char shorthand = 0);
  Flag& add(std::string name, int64_t* target, std::string usage, char shorthand = 0);
  Flag& add(std::string name, uint64_t* target, std::string usage, char shorthand = 0);
  Flag& add(std::string name, double* target, std::string usage, char shorthand = 0);
  Flag& add(std::string name, base::Duration* target, std::string usage, char shorthand = 0);
  // Comma-separated; the first use replaces the default, later uses add.
  Flag& add(std::string name, std::vector<std::string>* target, std::string usage, char shorthand = 0);

  Flag* find(std::string_view name);
  Flag* find_shorthand(char shorthand);
  bool changed(std::string_view name) const;
  bool any_visible() const;
  std::map<std::string, Flag, std::less<>>& all() { return flags_; }
  const std::map<std::string, Flag, std::less<>>& all() const { return flags_; }

 private:
  Flag& insert(Flag flag);
  std::map<std::string, Flag, std::less<>> flags_;  // sorted, as the help lists them
};

// The flags a command sees: its own and those handed down. Earlier sets win.
using FlagSets = std::vector<FlagSet*>;

Flag* find_flag(const FlagSets& sets, std::string_view name);
Flag* find_shorthand(const FlagSets& sets, char shorthand);

// Reads `arguments` into the flags; what is no flag is added to `rest`. Stops at the first error; its text is pflag's.
base::Status parse_flags(const FlagSets& sets, const std::vector<std::string>& arguments, std::vector<std::string>& rest);

// The block of lines below "Flags:", each ended by a newline. With `hidden` the hidden ones too.
std::string flag_usages(const FlagSet& flags, bool hidden = false);

// Sets one flag and marks it changed. The error is pflag's: `invalid argument "x" for "--limit" flag: ...`.
base::Status set_flag(Flag& flag, std::string_view value);

// Go's strconv.ParseInt with its error text: `strconv.ParseInt: parsing "x": invalid syntax`. Base 0 reads prefixes.
base::Result<int64_t> parse_int(std::string_view text, int base);

}  // namespace cli
