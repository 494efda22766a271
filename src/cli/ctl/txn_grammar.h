// The lines of a transaction as etcdctl reads them: `mod("key") > "0"`, `put key "a value" --lease=1`. Pure but
// for what put and del themselves read and say. Errors carry etcdctl's texts and exit codes.
#pragma once

#include <string_view>

#include "cli/command.h"
#include "rpc.pb.h"

namespace cli::ctl {

Exit parse_compare(std::string_view line, etcdserverpb::Compare& compare);

// One get, put or del with its flags.
Exit parse_request(std::string_view line, Terminal& terminal, etcdserverpb::RequestOp& request);

// Words between white space; 'single' and "double" quotes hold words together, the latter with Go's escapes.
Exit split_words(std::string_view line, std::vector<std::string>& words);

}  // namespace cli::ctl
