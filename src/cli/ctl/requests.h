// Flags and arguments of get, put and del as requests: for the commands and for the lines of a transaction.
// Source of behaviour: etcdctl, client/v3 op.go.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "rpc.pb.h"

namespace cli::ctl {

struct GetOptions {
  std::string consistency = "l", order, sort_by;
  int64_t limit = 0, revision = 0;
  bool prefix = false, from_key = false, keys_only = false, count_only = false, values_only = false, stream = false;
  int64_t create_revision_min = 0, create_revision_max = 0, mod_revision_min = 0, mod_revision_max = 0;
};
void add_get_flags(FlagSet& flags, GetOptions& options);
Exit make_range_request(const GetOptions& options, const std::vector<std::string>& arguments,
                        etcdserverpb::RangeRequest& request);

struct PutOptions {
  std::string lease = "0";
  bool prev_kv = false, ignore_value = false, ignore_lease = false;
};
void add_put_flags(FlagSet& flags, PutOptions& options);
// A value that is not among the arguments is read from the terminal, to its end.
Exit make_put_request(const PutOptions& options, const std::vector<std::string>& arguments, Terminal& terminal,
                      etcdserverpb::PutRequest& request);

struct DelOptions {
  bool prefix = false, prev_kv = false, from_key = false, range = false;
};
void add_del_flags(FlagSet& flags, DelOptions& options);
// Two keys without --range: warns and waits two seconds, in which the user may interrupt.
Exit make_delete_request(const DelOptions& options, const std::vector<std::string>& arguments, Terminal& terminal,
                         etcdserverpb::DeleteRangeRequest& request);

// --consistency: 's' is serializable, 'l' is not, else exit code 4. `named`: what the error text quotes.
Exit read_consistency(const std::string& value, const std::string& named, bool& serializable);

// The end of the range of all keys that begin with `prefix`; "\0" (no end) if there is none.
std::string prefix_range_end(const std::string& prefix);

}  // namespace cli::ctl
