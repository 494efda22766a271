// A table with box characters as tablewriter v1 draws it for etcdctl: upper-case centred titles, cells to the right.
// Pure; any thread.
#pragma once

#include <string>
#include <vector>

namespace cli::ctl {

using Row = std::vector<std::string>;

// REQUIRES: every row has as many cells as the titles.
std::string draw_table(const Row& titles, const std::vector<Row>& rows);

}  // namespace cli::ctl
