// The flags of `etcd`: one row each, from which the command line, the environment, the configuration file, the help text and
// the warnings about parts to come are made. Constants; any thread. Source of names and defaults: feature map 4.2, etcd 3.7.1.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "server/config.h"

namespace cli {

// A value of the configuration file, after YAML's rules for plain words.
struct FileValue {
  enum class Kind { kNull, kBool, kNumber, kString, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;              // kBool: "true" or "false"; kNumber: shortest decimal; kString
  std::vector<FileValue> items;  // kList

  // As Go's encoding/json names it: "string", "number", "array", ...
  std::string_view kind_name() const;
};

// Why a value of the file was not taken.
struct FileProblem {
  enum class Kind { kNone, kMismatch, kUrl, kOther };
  Kind kind = Kind::kNone;
  std::string text;  // kMismatch: what stands there, "string" or "number -1"; else the error
};

// Sets one thing from a word or from the file.
struct Binding {
  base::Status (*from_word)(server::Config&, std::string_view);
  FileProblem (*from_file)(server::Config&, const FileValue&);
  std::string_view go_type;  // in errors about the file
  bool is_boolean = false;   // --flag alone means true
};

// What a flag belongs to, where that may be missing from this version.
enum class Part {
  kHere,
  kTls,
  kAuth,
  kDiscovery,
  kTracing,
  kDowngrade,
  kMetricsListener,
};
// The part's name if this version does not have it; the whole list of what is missing is in flag_table.cc.
std::optional<std::string_view> missing_part(Part part);

struct ServerFlag {
  std::string_view name;
  std::string_view file_key;       // in the configuration file, "a.b" for b in block a; empty: not there
  std::string_view shown_default;  // as the help text shows it behind the name: " 'x'"
  std::string_view help;           // lines; empty: not in the help text
  Part part;
  Binding binding;
};

// Titles of the help text in order, and the rows under each.
struct FlagSection {
  std::string_view title;
  std::span<const ServerFlag> flags;
};
std::span<const FlagSection> flag_sections();
// Names that older versions had: accepted, not shown.
std::span<const ServerFlag> legacy_flags();
// Names that are accepted and do nothing.
std::span<const std::string_view> ignored_flags();
// What --help prints on standard output, and what goes to standard error with it and with mistakes.
std::string flags_text();
std::string usage_text();

}  // namespace cli
