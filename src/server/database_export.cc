#include "server/database_export.h"

#include <openssl/evp.h>

#include "base/verify.h"
#include "storage/bolt/buckets.h"

namespace server {

using base::Result;

struct DatabaseExport::Sha {
  Sha() : context(EVP_MD_CTX_new()) { VERIFY(context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1); }
  ~Sha() { EVP_MD_CTX_free(context); }
  Sha(const Sha&) = delete;
  Sha& operator=(const Sha&) = delete;
  EVP_MD_CTX* const context;
};

DatabaseExport::DatabaseExport(std::shared_ptr<const storage::View> view)
    : view_(std::move(view)),
      writer_(std::make_unique<storage::bolt::Writer>(storage::bolt::bucket_names(),
                                                      [view = view_.get()] { return storage::bolt::rows_of(*view); })),
      sha_(std::make_unique<Sha>()) {}

DatabaseExport::~DatabaseExport() = default;

uint64_t DatabaseExport::size() const { return writer_->size(); }

void DatabaseExport::step() {
  if (writer_ == nullptr || !status_.ok()) return;
  const size_t before = buffer_.size();
  const Result<bool> done = measured_ ? writer_->read(&buffer_, kExportPieceBytes) : writer_->measure(kExportMeasureBytes);
  if (!done.ok()) {
    status_ = done.status();
  } else if (!measured_) {
    measured_ = *done;
  } else {
    more_ = *done;
    VERIFY(EVP_DigestUpdate(sha_->context, buffer_.data() + before, buffer_.size() - before) == 1);
    if (more_) return;
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    VERIFY(EVP_DigestFinal_ex(sha_->context, sum, &size) == 1);
    digest_.assign(reinterpret_cast<const char*>(sum), size);
  }
}

void DatabaseExport::close() {
  writer_.reset();
  view_.reset();
  status_ = base::Status(base::Code::kUnavailable, "etcdserver: server stopped");
}

}  // namespace server
