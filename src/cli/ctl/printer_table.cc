#include <ostream>

#include "cli/ctl/printer.h"

namespace cli::ctl {
namespace {

class TablePrinter final : public Printer {
 public:
  TablePrinter(bool hex, Terminal& terminal) : Printer(Format::kTable, "table", hex, terminal) {}

  Exit member_list(const etcdserverpb::MemberListResponse& response) override { return print(member_cells(response)); }
  Exit endpoint_health(const std::vector<EndpointHealth>& list) override { return print(health_cells(list)); }
  Exit endpoint_status(const std::vector<EndpointStatus>& list) override { return print(status_cells(list)); }
  Exit endpoint_hash(const std::vector<EndpointHash>& list) override { return print(hash_cells(list)); }

 private:
  Exit print(const Cells& cells) {
    out() << draw_table(cells.titles, cells.rows);
    return Exit();
  }
};

}  // namespace

std::unique_ptr<Printer> make_table_printer(bool hex, Terminal& terminal) {
  return std::make_unique<TablePrinter>(hex, terminal);
}

}  // namespace cli::ctl
