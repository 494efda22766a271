#include "server/snapshot_sender.h"

#include <functional>
#include <string>

#include "server/database_export.h"
#include "server/maintainer.h"
#include "server/node.h"

namespace server {
namespace {

using base::Result;
using base::Status;

// Steps of the export are the helper thread's, one at a time; each closure shares it, so that it may end without the body.
class ExportBody final : public peer::SnapshotBody {
 public:
  ExportBody(base::Worker& helper, std::shared_ptr<DatabaseExport> database)
      : helper_(helper), database_(std::move(database)) {}

  void open(std::function<void(Result<uint64_t>)> done) override { measure(helper_, database_, std::move(done)); }
  void next(Done done) override { produce(helper_, database_, std::move(done)); }

 private:
  using Database = std::shared_ptr<DatabaseExport>;

  static void measure(base::Worker& helper, const Database& database, std::function<void(Result<uint64_t>)> done) {
    helper.submit([database] { database->step(); },
                  [&helper, database, done = std::move(done)]() mutable {
                    if (!database->status().ok()) return done(database->status());
                    if (database->measured()) return done(database->size());
                    measure(helper, database, std::move(done));
                  });
  }

  static void produce(base::Worker& helper, const Database& database, Done done) {
    if (!database->status().ok()) return done(database->status());
    if (!database->buffer().empty()) return done(std::exchange(database->buffer(), std::string()));
    if (!database->more()) return done(std::string());
    helper.submit([database] { database->step(); },
                  [&helper, database, done = std::move(done)]() mutable { produce(helper, database, std::move(done)); });
  }

  base::Worker& helper_;
  const Database database_;
};

}  // namespace

Result<std::unique_ptr<peer::SnapshotBody>> open_snapshot_body(Node& node) {
  Result<std::shared_ptr<DatabaseExport>> database = node.maintainer().open_export();
  if (!database.ok()) return database.status();
  return std::unique_ptr<peer::SnapshotBody>(std::make_unique<ExportBody>(node.environment().helper, std::move(*database)));
}

}  // namespace server
