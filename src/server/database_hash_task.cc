#include "server/database_hash_task.h"

namespace server {

DatabaseHashTask::DatabaseHashTask(std::shared_ptr<const storage::View> view)
    : view_(std::move(view)), rows_(storage::bolt::rows_of(*view_)), hash_(storage::bolt::bucket_names()) {}

void DatabaseHashTask::read() {
  for (size_t bytes = 0; bytes < kReadBytesMax; bytes += kRowBytes + rows_->key().size() + rows_->value().size()) {
    if (!rows_->next()) {
      crc_ = hash_.finish();
      done_ = true;
      return;
    }
    if (!storage::bolt::left_out_of_hash(rows_->bucket(), rows_->key())) {
      hash_.add(rows_->bucket(), rows_->key(), rows_->value());
    }
  }
}

}  // namespace server
