// The configuration file: YAML (so JSON, too) read as Go's sigs.k8s.io/yaml reads it, which goes through JSON: plain words
// become booleans and numbers by YAML 1.1's rules, keys match in any case, the first type that does not fit in key order is
// the error.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

#include "base/flags.h"
#include "cli/server/flag_table.h"
#include "cli/server/flags.h"

namespace cli {
namespace {

using base::Code;
using base::Result;
using base::Status;
using Kind = FileValue::Kind;

constexpr size_t kListItemsMax = 10000;

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

bool is_one_of(std::string_view word, std::span<const std::string_view> list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Shortest decimal; whole numbers without a point, as Go's JSON prints floats.
std::string number_json(double value) {
  char buffer[400];
  const bool whole = std::floor(value) == value && std::fabs(value) < 1e21;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                 whole ? std::chars_format::fixed : std::chars_format::general);
  return std::string(buffer, end.ptr);
}

// A word without quotes: YAML 1.1's booleans, null, numbers; else text.
FileValue plain_word(const std::string& word) {
  static constexpr std::array<std::string_view, 11> kTrue{"y",    "Y",    "yes", "Yes", "YES", "true",
                                                          "True", "TRUE", "on",  "On",  "ON"};
  static constexpr std::array<std::string_view, 11> kFalse{"n",     "N",     "no",  "No",  "NO", "false",
                                                           "False", "FALSE", "off", "Off", "OFF"};
  static constexpr std::array<std::string_view, 5> kNull{"", "~", "null", "Null", "NULL"};
  if (is_one_of(word, kNull)) return {};
  if (is_one_of(word, kTrue)) return {Kind::kBool, "true", {}};
  if (is_one_of(word, kFalse)) return {Kind::kBool, "false", {}};
  const bool numeric = std::strchr("0123456789+-.", word[0]) != nullptr;
  if (!numeric) return {Kind::kString, word, {}};
  std::string digits;
  std::copy_if(word.begin(), word.end(), std::back_inserter(digits), [](char c) { return c != '_'; });
  if (const Result<int64_t> value = base::flags::parse_int(digits); value.ok()) {
    return {Kind::kNumber, std::to_string(*value), {}};
  }
  if (const Result<uint64_t> value = base::flags::parse_uint(digits); value.ok()) {
    return {Kind::kNumber, std::to_string(*value), {}};
  }
  double value = 0;
  const char* begin = digits.data() + (digits[0] == '+' ? 1 : 0);
  const char* end = digits.data() + digits.size();
  const auto read = std::from_chars(begin, end, value);
  if (read.ec == std::errc() && read.ptr == end && std::isfinite(value)) return {Kind::kNumber, number_json(value), {}};
  return {Kind::kString, word, {}};
}

FileValue scalar(const YAML::Node& node) {
  if (node.Tag() == "?") return plain_word(node.Scalar());
  return {Kind::kString, node.Scalar(), {}};
}

Result<FileValue> to_value(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar: return scalar(node);
    case YAML::NodeType::Map: return FileValue{Kind::kMap, {}, {}};
    case YAML::NodeType::Sequence: {
      FileValue list{Kind::kList, {}, {}};
      if (node.size() > kListItemsMax) return invalid("list too long");
      for (const YAML::Node& item : node) list.items.push_back(item.IsScalar() ? scalar(item) : FileValue{Kind::kMap, {}, {}});
      return list;
    }
    default: return FileValue{};
  }
}

// Where Go's structs keep a block, as its errors name it.
struct Block {
  std::string_view path;    // in the file
  std::string_view owner;   // the struct of the fields in it
  std::string_view inside;  // path of the struct's field from the outermost
  std::string_view go_type;
};
constexpr Block kBlocks[] = {
    {"client-transport-security", "securityConfig", "configJSON.client-transport-security", "embed.securityConfig"},
    {"peer-transport-security", "securityConfig", "configJSON.peer-transport-security", "embed.securityConfig"},
    {"socket-options", "SocketOpts", "Config.socket-options", "transport.SocketOpts"},
    {"discovery-config", "DiscoveryConfig", "Config.discovery-config", "v3discovery.DiscoveryConfig"},
    {"discovery-config.client", "ConfigSpec", "Config.discovery-config.client", "clientv3.ConfigSpec"},
    {"discovery-config.client.secure", "SecureConfig", "Config.discovery-config.client.secure", "clientv3.SecureConfig"},
    {"discovery-config.client.auth", "AuthConfig", "Config.discovery-config.client.auth", "clientv3.AuthConfig"},
};

const Block* find_block(std::string_view path) {
  for (const Block& block : kBlocks) {
    if (block.path == path) return &block;
  }
  return nullptr;
}

// Keys that Go translates after reading stand in another struct.
bool is_translated(std::string_view key) {
  static constexpr std::array<std::string_view, 8> kTranslated{
      "listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "initial-advertise-peer-urls",
      "advertise-client-urls", "cors", "host-whitelist", "feature-gates"};
  return is_one_of(key, kTranslated);
}

std::string type_error(const std::string& what, const std::string& where, std::string_view go_type) {
  return "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal " + what + " into Go " + where + " of type " +
         std::string(go_type);
}

const ServerFlag* find_key(std::string_view path) {
  for (const FlagSection& section : flag_sections()) {
    for (const ServerFlag& flag : section.flags) {
      if (!flag.file_key.empty() && flag.file_key == path) return &flag;
    }
  }
  return nullptr;
}

class Reader {
 public:
  explicit Reader(server::Config& config) : config_(config) {}

  // Go decodes everything and reports the first type that did not fit, before any other mistake.
  Status read(const YAML::Node& root, bool& plain) {
    read_map(root, "");
    if (!type_error_.empty()) return invalid(type_error_);
    plain = plain_error_;
    if (!error_.empty()) return invalid(error_);
    return {};
  }

 private:
  void read_map(const YAML::Node& map, const std::string& prefix) {
    // In key order, whatever the file's; of two that are equal the later counts.
    std::multimap<std::string, YAML::Node> entries;
    for (const auto& entry : map) {
      if (entry.first.IsScalar()) entries.emplace(entry.first.Scalar(), entry.second);
    }
    for (const auto& [key, node] : entries) read_entry(prefix + lower(key), node);
  }

  void read_entry(const std::string& path, const YAML::Node& node) {
    Result<FileValue> value = to_value(node);
    if (!value.ok()) return fail(std::string(value.status().text()));
    if (const Block* block = find_block(path)) {
      if (value->kind == Kind::kMap) return read_map(node, path + ".");
      if (value->kind != Kind::kNull) {
        const bool nested = path.find('.') != std::string::npos;
        const std::string_view outer = nested ? find_block(path.substr(0, path.rfind('.')))->owner : "configYAML";
        const std::string where = "struct field " + std::string(outer) + "." + std::string(block->inside);
        fail_type(type_error(std::string(value->kind_name()), where, block->go_type));
      }
      return;
    }
    const ServerFlag* flag = find_key(path);
    if (flag == nullptr) return;  // unknown keys are nobody's business
    config_.set_explicitly.emplace(flag->name);
    const FileProblem problem = flag->binding.from_file(config_, *value);
    switch (problem.kind) {
      case FileProblem::Kind::kNone: return;
      case FileProblem::Kind::kMismatch:
        return fail_type(type_error(problem.text, "struct field " + go_field(path), flag->binding.go_type));
      case FileProblem::Kind::kUrl: return fail_url(*flag, problem.text);
      case FileProblem::Kind::kOther: return fail(problem.text);
    }
  }

  static std::string go_field(const std::string& path) {
    const size_t dot = path.rfind('.');
    if (dot == std::string::npos) return std::string("configYAML.") + (is_translated(path) ? "configJSON." : "Config.") + path;
    const Block* block = find_block(path.substr(0, dot));
    return std::string(block->owner) + "." + std::string(block->inside) + path.substr(dot);
  }

  void fail_type(const std::string& text) {
    if (type_error_.empty()) type_error_ = text;
  }

  void fail(const std::string& text) {
    if (!error_.empty()) return;
    error_ = text;
  }

  // etcd looks at feature gates first, then at the URLs in an order of its own; it calls one key by another's name.
  void fail_url(const ServerFlag& flag, const std::string& text) {
    static constexpr std::array<std::string_view, 6> kOrder{"listen-peer-urls",          "listen-client-urls",
                                                            "listen-client-http-urls",   "initial-advertise-peer-urls",
                                                            "advertise-client-urls",     "listen-metrics-urls"};
    const auto rank = std::find(kOrder.begin(), kOrder.end(), flag.name) - kOrder.begin();
    if (!error_.empty() && (!plain_error_ || rank >= url_rank_)) return;
    url_rank_ = rank;
    plain_error_ = true;
    const std::string_view shown = flag.name == "advertise-client-urls" ? "advertise-peer-urls" : flag.name;
    error_ = "unexpected error setting up " + std::string(shown) + ": " + text;
  }

  server::Config& config_;
  std::string type_error_, error_;
  bool plain_error_ = false;
  std::ptrdiff_t url_rank_ = 0;
};

std::string system_error(std::string_view call, const std::string& path) {
  char buffer[128];
  std::string why = strerror_r(errno, buffer, sizeof buffer);
  if (!why.empty() && why[0] >= 'A' && why[0] <= 'Z') why[0] = static_cast<char>(why[0] + 32);
  return std::string(call) + " " + path + ": " + why;
}

}  // namespace

Result<std::string> read_config_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return invalid(system_error("open", path));
  std::string text;
  std::array<char, 16384> buffer;
  ssize_t n = 0;
  while (text.size() <= kConfigFileBytesMax && (n = ::read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  const std::string failed = n < 0 ? system_error("read", path) : "";
  ::close(fd);
  if (!failed.empty()) return invalid(failed);
  if (text.size() > kConfigFileBytesMax) return invalid("configuration file " + path + " is too large");
  return text;
}

Status read_config_text(std::string_view text, server::Config& config, bool& plain) {
  plain = false;
  if (text.size() > kConfigFileBytesMax) return invalid("configuration file is too large");
  const std::string default_cluster = config.initial_cluster;
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (root.IsDefined() && !root.IsNull() && !root.IsMap()) {
      Result<FileValue> value = to_value(root);
      if (!value.ok()) return value.status();
      if (value->kind != Kind::kNull) {
        return invalid(type_error(std::string(value->kind_name()), "value", "embed.configYAML"));
      }
    }
    if (root.IsMap()) {
      if (Status status = Reader(config).read(root, plain); !status.ok()) return status;
    }
  } catch (const YAML::Exception& error) {
    return invalid("error converting YAML to JSON: yaml: line " + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
  const bool discovers =
      !config.discovery_srv.empty() || !config.discovery.endpoints.empty() || !config.discovery.v2_url.empty();
  if (discovers && config.initial_cluster == default_cluster) config.initial_cluster.clear();
  if (config.self_signed_cert_validity_years == 0) config.self_signed_cert_validity_years = 1;
  return {};
}

}  // namespace cli
