#include "cli/flag_set.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <utility>

#include "base/flags.h"
#include "base/log.h"
#include "base/verify.h"
#include "cli/text.h"

namespace cli {
namespace {

using base::Result;
using base::Status;

Status invalid(std::string text) { return Status(base::Code::kInvalidArgument, std::move(text)); }

Status number_error(std::string_view function, std::string_view text, std::string_view why) {
  return invalid("strconv." + std::string(function) + ": parsing " + base::flags::quote(text) + ": " + std::string(why));
}

// base::flags words a bad number as Go's package flag does; strconv itself says "invalid syntax".
std::string_view strconv_words(const Status& error) {
  return error.text() == "value out of range" ? "value out of range" : "invalid syntax";
}

Result<double> parse_float(std::string_view text) {
  double value = 0;
  const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) return number_error("ParseFloat", text, "value out of range");
  if (error != std::errc() || end != digits.data() + digits.size()) return number_error("ParseFloat", text, "invalid syntax");
  return value;
}

// One line of comma-separated values, as Go's encoding/csv reads it.
Result<std::vector<std::string>> parse_csv(std::string_view line) {
  std::vector<std::string> fields;
  if (line.empty()) return fields;
  const auto error = [](size_t at, const char* what) {
    return invalid("parse error on line 1, column " + std::to_string(at + 1) + ": " + what);
  };
  size_t i = 0;
  for (;;) {
    std::string field;
    if (i < line.size() && line[i] == '"') {
      for (++i;; ++i) {
        if (i >= line.size()) return error(i, "extraneous or missing \" in quoted-field");
        if (line[i] != '"') {
          field += line[i];
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
          field += line[i++];
        } else {
          break;
        }
      }
      ++i;
      if (i < line.size() && line[i] != ',') return error(i - 1, "extraneous or missing \" in quoted-field");
    } else {
      const size_t end = std::min(line.find(',', i), line.size());
      field = line.substr(i, end - i);
      if (const size_t bare = field.find('"'); bare != std::string::npos) return error(i + bare, "bare \" in non-quoted-field");
      i = end;
    }
    fields.push_back(std::move(field));
    if (i >= line.size()) return fields;
    ++i;
  }
}

std::string list_text(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ',';
    out += item;
  }
  return out + "]";
}

}  // namespace

Result<int64_t> parse_int(std::string_view text, int base) {
  if (base == 0) {
    Result<int64_t> value = base::flags::parse_int(text);
    if (!value.ok()) return number_error("ParseInt", text, strconv_words(value.status()));
    return value;
  }
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  if (text.starts_with("+-")) return number_error("ParseInt", text, "invalid syntax");
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (end != digits.data() + digits.size()) return number_error("ParseInt", text, "invalid syntax");
  if (error == std::errc::result_out_of_range) return number_error("ParseInt", text, "value out of range");
  if (error != std::errc()) return number_error("ParseInt", text, "invalid syntax");
  return value;
}

std::string flag_label(const Flag& flag) {
  return flag.shorthand != 0 ? std::string("-") + flag.shorthand + ", --" + flag.name : "--" + flag.name;
}

Flag& FlagSet::insert(Flag flag) {
  const auto [at, added] = flags_.try_emplace(flag.name, std::move(flag));
  VERIFY(added);
  return at->second;
}

Flag& FlagSet::add(std::string name, bool* target, std::string usage, char shorthand) {
  Flag flag{.name = std::move(name), .shorthand = shorthand, .usage = std::move(usage), .is_boolean = true};
  if (*target) flag.default_text = "true";
  flag.set = [target](std::string_view text) {
    const Result<bool> value = base::flags::parse_bool(text);
    if (!value.ok()) return number_error("ParseBool", text, "invalid syntax");
    *target = *value;
    return Status();
  };
  flag.text = [target] { return std::string(*target ? "true" : "false"); };
  return insert(std::move(flag));
}

Flag& FlagSet::add(std::string name, std::string* target, std::string usage, char shorthand) {
  Flag flag{.name = std::move(name), .shorthand = shorthand, .type = "string", .usage = std::move(usage)};
  if (!target->empty()) flag.default_text = base::flags::quote(*target);
  flag.set = [target](std::string_view text) {
    *target = text;
    return Status();
  };
  flag.text = [target] { return *target; };
  return insert(std::move(flag));
}

Flag& FlagSet::add(std::string name, int64_t* target, std::string usage, char shorthand) {
  Flag flag{.name = std::move(name), .shorthand = shorthand, .type = "int", .usage = std::move(usage)};
  if (*target != 0) flag.default_text = std::to_string(*target);
  flag.set = [target](std::string_view text) {
    const Result<int64_t> value = parse_int(text, 0);
    if (!value.ok()) return value.status();
    *target = *value;
    return Status();
  };
  flag.text = [target] { return std::to_string(*target); };
  return insert(std::move(flag));
}

Flag& FlagSet::add(std::string name, uint64_t* target, std::string usage, char shorthand) {
  Flag flag{.name = std::move(name), .shorthand = shorthand, .type = "uint", .usage = std::move(usage)};
  if (*target != 0) flag.default_text = std::to_string(*target);
  flag.set = [target](std::string_view text) {
    const Result<uint64_t> value = base::flags::parse_uint(text);
    if (!value.ok()) return number_error("ParseUint", text, strconv_words(value.status()));
    *target = *value;
    return Status();
  };
  flag.text = [target] { return std::to_string(*target); };
  return insert(std::move(flag));
}

Flag& FlagSet::add(std::string name, double* target, std::string usage, char shorthand) {
  Flag flag{.name = std::move(name), .shorthand = shorthand, .type = "float", .usage = std::move(usage)};
  if (*target != 0) flag.default_text = float_text(*target);
  flag.set = [target](std::string_view text) {
    const Result<double> value = parse_float(text);
    if (!value.ok()) return value.status();
    *target = *value;
    return Status();
  };
  flag.text = [target] { return float_text(*target); };
  return insert(std::move(flag));
}

Flag& FlagSet::add(std::string name, base::Duration* target, std::string usage, char shorthand) {
  Flag flag{.name = std::move(name), .shorthand = shorthand, .type = "duration", .usage = std::move(usage)};
  if (target->count() != 0) flag.default_text = base::log::duration_text(target->count());
  flag.set = [target](std::string_view text) {
    const Result<int64_t> value = base::flags::parse_duration(text);
    if (!value.ok()) return value.status();
    *target = base::Duration(*value);
    return Status();
  };
  flag.text = [target] { return base::log::duration_text(target->count()); };
  return insert(std::move(flag));
}

Flag& FlagSet::add(std::string name, std::vector<std::string>* target, std::string usage, char shorthand) {
  Flag flag{.name = std::move(name), .shorthand = shorthand, .type = "strings", .usage = std::move(usage)};
  if (!target->empty()) flag.default_text = list_text(*target);
  flag.set = [target, first = true](std::string_view text) mutable {
    Result<std::vector<std::string>> items = parse_csv(text);
    if (!items.ok()) return items.status();
    if (std::exchange(first, false)) target->clear();
    target->insert(target->end(), items->begin(), items->end());
    return Status();
  };
  flag.text = [target] { return list_text(*target); };
  return insert(std::move(flag));
}

Flag* FlagSet::find(std::string_view name) {
  const auto at = flags_.find(name);
  return at == flags_.end() ? nullptr : &at->second;
}

Flag* FlagSet::find_shorthand(char shorthand) {
  for (auto& [name, flag] : flags_) {
    if (flag.shorthand == shorthand) return &flag;
  }
  return nullptr;
}

bool FlagSet::changed(std::string_view name) const {
  const auto at = flags_.find(name);
  return at != flags_.end() && at->second.changed;
}

bool FlagSet::any_visible() const {
  return std::any_of(flags_.begin(), flags_.end(), [](const auto& entry) { return !entry.second.hidden; });
}

Flag* find_flag(const FlagSets& sets, std::string_view name) {
  for (FlagSet* set : sets) {
    if (Flag* flag = set->find(name)) return flag;
  }
  return nullptr;
}

Flag* find_shorthand(const FlagSets& sets, char shorthand) {
  for (FlagSet* set : sets) {
    if (Flag* flag = set->find_shorthand(shorthand)) return flag;
  }
  return nullptr;
}

Status set_flag(Flag& flag, std::string_view value) {
  const Status set = flag.set(value);
  if (!set.ok()) {
    return invalid("invalid argument " + base::flags::quote(value) + " for " + base::flags::quote(flag_label(flag)) +
                   " flag: " + std::string(set.text()));
  }
  flag.changed = true;
  return Status();
}

namespace {

// Reads flags one argument at a time; `next` is the argument after the one under way.
class Reader {
 public:
  Reader(const FlagSets& sets, const std::vector<std::string>& arguments) : sets_(sets), arguments_(arguments) {}

  Status read(std::vector<std::string>& rest) {
    while (next_ < arguments_.size()) {
      const std::string& argument = arguments_[next_++];
      if (argument.size() < 2 || argument[0] != '-') {
        rest.push_back(argument);
      } else if (argument == "--") {
        rest.insert(rest.end(), arguments_.begin() + static_cast<ptrdiff_t>(next_), arguments_.end());
        return Status();
      } else {
        const Status read = argument[1] == '-' ? read_long(argument) : read_short(argument);
        if (!read.ok()) return read;
      }
    }
    return Status();
  }

 private:
  Status read_long(std::string_view argument) {
    std::string_view name = argument.substr(2);
    if (name.starts_with('-') || name.starts_with('=')) return invalid("bad flag syntax: " + std::string(argument));
    const size_t equals = name.find('=');
    const bool has_value = equals != std::string_view::npos;
    const std::string_view value = has_value ? name.substr(equals + 1) : std::string_view();
    name = name.substr(0, equals);
    Flag* flag = find_flag(sets_, name);
    if (flag == nullptr) return invalid("unknown flag: --" + std::string(name));
    if (has_value) return set_flag(*flag, value);
    if (flag->is_boolean) return set_flag(*flag, "true");
    if (next_ < arguments_.size()) return set_flag(*flag, arguments_[next_++]);
    return invalid("flag needs an argument: " + std::string(argument));
  }

  Status read_short(std::string_view argument) {
    std::string_view letters = argument.substr(1);
    while (!letters.empty()) {
      const char letter = letters[0];
      Flag* flag = find_shorthand(sets_, letter);
      if (flag == nullptr) {
        return invalid(std::string("unknown shorthand flag: '") + letter + "' in -" + std::string(letters));
      }
      if (letters.size() > 2 && letters[1] == '=') return set_flag(*flag, letters.substr(2));
      if (flag->is_boolean) {
        const Status set = set_flag(*flag, "true");
        if (!set.ok()) return set;
        letters.remove_prefix(1);
        continue;
      }
      if (letters.size() > 1) return set_flag(*flag, letters.substr(1));
      if (next_ < arguments_.size()) return set_flag(*flag, arguments_[next_++]);
      return invalid(std::string("flag needs an argument: '") + letter + "' in -" + std::string(letters));
    }
    return Status();
  }

  const FlagSets& sets_;
  const std::vector<std::string>& arguments_;
  size_t next_ = 0;
};

}  // namespace

Status parse_flags(const FlagSets& sets, const std::vector<std::string>& arguments, std::vector<std::string>& rest) {
  return Reader(sets, arguments).read(rest);
}

std::string flag_usages(const FlagSet& flags, bool hidden) {
  struct Line {
    std::string left, right;
  };
  std::vector<Line> lines;
  size_t width = 0;
  for (const auto& [name, flag] : flags.all()) {
    if (flag.hidden && !hidden) continue;
    Line line;
    line.left = flag.shorthand != 0 ? std::string("  -") + flag.shorthand + ", --" + name : "      --" + name;
    if (!flag.type.empty()) line.left += " " + flag.type;
    line.right = flag.usage;
    if (!flag.default_text.empty()) line.right += " (default " + flag.default_text + ")";
    width = std::max(width, line.left.size());
    lines.push_back(std::move(line));
  }
  std::string out;
  for (const Line& line : lines) out += line.left + std::string(width + 3 - line.left.size(), ' ') + line.right + "\n";
  return out;
}

}  // namespace cli
