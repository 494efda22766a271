#include "cli/ctl/requests.h"

#include <algorithm>
#include <asio.hpp>
#include <cctype>
#include <chrono>
#include <istream>
#include <iterator>
#include <ostream>

#include "base/flags.h"

namespace cli::ctl {
namespace {

using etcdserverpb::RangeRequest;

constexpr std::chrono::seconds kSecondThoughts(2);
const std::string kZeroByte(1, '\0');

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

Exit check_scope(bool prefix, bool from_key, size_t arguments) {
  if (prefix && from_key) {
    return fail(kExitBadArguments, "`--prefix` and `--from-key` cannot be set at the same time, choose one");
  }
  if (arguments > 1 && (prefix || from_key)) {
    return fail(kExitBadArguments, "too many arguments, only accept one argument when `--prefix` or `--from-key` is set");
  }
  return Exit();
}

// Key and end of a range by prefix or from a key on; an empty key means all keys.
template <class Request>
void set_scope(bool prefix, bool from_key, Request& request) {
  if (!prefix && !from_key) return;
  if (request.key().empty()) {
    request.set_key(kZeroByte);
    request.set_range_end(kZeroByte);
  } else {
    request.set_range_end(prefix ? prefix_range_end(request.key()) : kZeroByte);
  }
}

Exit set_order(const GetOptions& options, RangeRequest& request) {
  const std::string order = upper(options.order);
  if (order == "ASCEND") {
    request.set_sort_order(RangeRequest::ASCEND);
  } else if (order == "DESCEND") {
    request.set_sort_order(RangeRequest::DESCEND);
  } else if (!order.empty()) {
    return fail(kExitBadFeature, "bad sort order " + options.order);
  }
  const std::string target = upper(options.sort_by);
  if (target == "CREATE") {
    request.set_sort_target(RangeRequest::CREATE);
  } else if (target == "MODIFY") {
    request.set_sort_target(RangeRequest::MOD);
  } else if (target == "VALUE") {
    request.set_sort_target(RangeRequest::VALUE);
  } else if (target == "VERSION") {
    request.set_sort_target(RangeRequest::VERSION);
  } else if (!target.empty() && target != "KEY") {
    return fail(kExitBadFeature, "bad sort target " + options.sort_by);
  }
  // The server's own order: no need to ask for it.
  if (request.sort_target() == RangeRequest::KEY && request.sort_order() == RangeRequest::ASCEND) {
    request.set_sort_order(RangeRequest::NONE);
  }
  return Exit();
}

Exit set_revision_bounds(const GetOptions& options, RangeRequest& request) {
  const auto crossed = [](const char* what, int64_t min, int64_t max) {
    return fail(kExitBadFeature, "getMin" + std::string(what) + "Rev(=" + std::to_string(min) + ") > getMax" + what +
                                     "Rev(=" + std::to_string(max) + ")");
  };
  if (options.create_revision_min > 0) request.set_min_create_revision(options.create_revision_min);
  if (options.create_revision_max > 0) {
    if (options.create_revision_min > options.create_revision_max) {
      return crossed("Create", options.create_revision_min, options.create_revision_max);
    }
    request.set_max_create_revision(options.create_revision_max);
  }
  if (options.mod_revision_min > 0) request.set_min_mod_revision(options.mod_revision_min);
  if (options.mod_revision_max > 0) {
    if (options.mod_revision_min > options.mod_revision_max) {
      return crossed("Mod", options.mod_revision_min, options.mod_revision_max);
    }
    request.set_max_mod_revision(options.mod_revision_max);
  }
  return Exit();
}

}  // namespace

std::string prefix_range_end(const std::string& prefix) {
  std::string end = prefix;
  while (!end.empty()) {
    if (static_cast<unsigned char>(end.back()) < 0xff) {
      ++end.back();
      return end;
    }
    end.pop_back();
  }
  return kZeroByte;
}

Exit read_consistency(const std::string& value, const std::string& named, bool& serializable) {
  serializable = value == "s";
  if (value == "s" || value == "l") return Exit();
  return fail(kExitBadFeature, "unknown consistency flag " + base::flags::quote(named));
}

void add_get_flags(FlagSet& flags, GetOptions& options) {
  flags.add("consistency", &options.consistency, "l: linearizable, s: serializable (this member alone, may be stale)");
  flags.add("order", &options.order, "order of the results: ASCEND or DESCEND");
  flags.add("sort-by", &options.sort_by, "what the order is by: CREATE, KEY, MODIFY, VALUE or VERSION");
  flags.add("limit", &options.limit, "largest number of results");
  flags.add("prefix", &options.prefix, "all keys that begin with the given key");
  flags.add("from-key", &options.from_key, "all keys that are not less than the given key, byte by byte");
  flags.add("rev", &options.revision, "as of this revision");
  flags.add("keys-only", &options.keys_only, "keys without values");
  flags.add("count-only", &options.count_only, "only how many there are");
  flags.add("print-value-only", &options.values_only, "print values without keys (with --write-out=simple)");
  flags.add("min-create-rev", &options.create_revision_min, "least create revision");
  flags.add("max-create-rev", &options.create_revision_max, "greatest create revision");
  flags.add("min-mod-rev", &options.mod_revision_min, "least modification revision");
  flags.add("max-mod-rev", &options.mod_revision_max, "greatest modification revision");
  flags.add("stream", &options.stream, "ask for the answer in pieces (RangeStream)");
}

Exit make_range_request(const GetOptions& options, const std::vector<std::string>& arguments, RangeRequest& request) {
  if (arguments.empty()) {
    return fail(kExitBadArguments, "get command needs one argument as key and an optional argument as range_end");
  }
  if (Exit exit = check_scope(options.prefix, options.from_key, 1); exit.code != kExitOk) return exit;
  if (options.keys_only && options.count_only) {
    return fail(kExitBadArguments, "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
  }
  bool serializable = false;
  Exit exit = read_consistency(options.consistency, options.consistency, serializable);
  if (exit.code == kExitOk) exit = check_scope(options.prefix, options.from_key, arguments.size());
  if (exit.code != kExitOk) return exit;
  request.set_serializable(serializable);
  request.set_key(arguments[0]);
  if (arguments.size() > 1) request.set_range_end(arguments[1]);
  request.set_limit(options.limit);
  if (options.revision > 0) request.set_revision(options.revision);
  exit = set_order(options, request);
  if (exit.code != kExitOk) return exit;
  set_scope(options.prefix, options.from_key, request);
  request.set_keys_only(options.keys_only);
  request.set_count_only(options.count_only);
  return set_revision_bounds(options, request);
}

void add_put_flags(FlagSet& flags, PutOptions& options) {
  flags.add("lease", &options.lease, "id of the lease to attach to the key, in hexadecimal");
  flags.add("prev-kv", &options.prev_kv, "also print the pair that was there before");
  flags.add("ignore-value", &options.ignore_value, "keep the key's present value");
  flags.add("ignore-lease", &options.ignore_lease, "keep the key's present lease");
}

Exit make_put_request(const PutOptions& options, const std::vector<std::string>& arguments, Terminal& terminal,
                      etcdserverpb::PutRequest& request) {
  const char* kArguments = "put command needs 1 argument and input from stdin or 2 arguments";
  if (arguments.empty()) return fail(kExitBadArguments, kArguments);
  if (options.ignore_value && arguments.size() > 1) {
    return fail(kExitBadArguments, "put command needs only 1 argument when 'ignore-value' is set");
  }
  request.set_key(arguments[0]);
  if (arguments.size() > 1) {
    request.set_value(arguments[1]);
  } else if (!options.ignore_value) {
    request.set_value(std::string(std::istreambuf_iterator<char>(terminal.in), {}));
    if (request.value().empty()) return fail(kExitBadArguments, kArguments);
  }
  const base::Result<int64_t> lease = parse_int(options.lease, 16);
  if (!lease.ok()) {
    return fail(kExitBadArguments, "bad lease ID (" + std::string(lease.status().text()) + "), expecting ID in Hex");
  }
  request.set_lease(*lease);
  request.set_prev_kv(options.prev_kv);
  request.set_ignore_value(options.ignore_value);
  request.set_ignore_lease(options.ignore_lease);
  return Exit();
}

void add_del_flags(FlagSet& flags, DelOptions& options) {
  flags.add("prefix", &options.prefix, "delete all keys that begin with the given key");
  flags.add("prev-kv", &options.prev_kv, "also print the deleted pairs");
  flags.add("from-key", &options.from_key, "delete all keys that are not less than the given key, byte by byte");
  flags.add("range", &options.range, "two keys are meant as a range: do not wait before deleting it");
}

Exit make_delete_request(const DelOptions& options, const std::vector<std::string>& arguments, Terminal& terminal,
                         etcdserverpb::DeleteRangeRequest& request) {
  if (arguments.empty() || arguments.size() > 2) {
    return fail(kExitBadArguments, "del command needs one argument as key and an optional argument as range_end");
  }
  if (Exit exit = check_scope(options.prefix, options.from_key, arguments.size()); exit.code != kExitOk) return exit;
  request.set_key(arguments[0]);
  if (arguments.size() > 1) {
    request.set_range_end(arguments[1]);
    if (!options.range) {
      terminal.err << "Warning: Keys between " << base::flags::quote(arguments[0]) << " and "
                   << base::flags::quote(arguments[1])
                   << " will be deleted. Please interrupt the command within next 2 seconds to cancel. You can provide "
                      "`--range` flag to avoid the delay.\n"
                   << std::flush;
      asio::io_context loop{1};
      asio::steady_timer(loop, kSecondThoughts).wait();
    }
  }
  set_scope(options.prefix, options.from_key, request);
  request.set_prev_kv(options.prev_kv);
  return Exit();
}

}  // namespace cli::ctl
