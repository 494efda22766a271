#include "server/defragmenter.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "server/errors.h"
#include "server/maintainer.h"
#include "server/metrics.h"
#include "server/node.h"
#include "storage/slices.h"

namespace server {

using base::Status;

namespace {

std::string path_of(const Config& config) { return config.member_dir() + "/store"; }

int64_t difference(uint64_t now, uint64_t before) { return static_cast<int64_t>(now) - static_cast<int64_t>(before); }

}  // namespace

Defragmenter::Defragmenter(Node& node) : node_(node) {}
Defragmenter::~Defragmenter() = default;

void Defragmenter::run(std::function<void(const Status&)> done) {
  if (stopped_) return done(errors::stopped());
  if (waiting_.size() >= kDefragmentsWaitingMax) return done(errors::too_many_requests());
  waiting_.push_back(std::move(done));
  if (running_) return;
  running_ = true;
  node_.metrics().defrag_inflight.set(1);
  node_.maintainer().when_compacted([this](const Status&) {
    if (!stopped_) begin();
  });
}

void Defragmenter::run_at_start() {
  const uint64_t threshold = node_.config().bootstrap_defrag_threshold_megabytes * 1024 * 1024;
  if (threshold == 0) return;
  const uint64_t size = node_.db_size_bytes(), in_use = node_.db_size_in_use_bytes();
  if (size - in_use < threshold) {
    base::log::info("Skipping defragmentation", {{"current-db-size-bytes", size},
                                                 {"current-db-size", size_text(size)},
                                                 {"current-db-size-in-use-bytes", in_use},
                                                 {"current-db-size-in-use", size_text(in_use)},
                                                 {"bootstrap-defrag-threshold-bytes", threshold},
                                                 {"bootstrap-defrag-threshold", size_text(threshold)}});
    return;
  }
  run([](const Status&) {});
}

void Defragmenter::begin() {
  if (const std::optional<std::string> text = FAILPOINT_TEXT(defragOpenFileError))
    return fail(Status(base::Code::kUnknown, *text));
  began_ = node_.environment().loop.clock().now();
  size_before_ = node_.db_size_bytes();
  in_use_before_ = node_.db_size_in_use_bytes();
  base::log::info("defragmenting", {{"path", path_of(node_.config())},
                                    {"current-db-size-bytes", size_before_},
                                    {"current-db-size", size_text(size_before_)},
                                    {"current-db-size-in-use-bytes", in_use_before_},
                                    {"current-db-size-in-use", size_text(in_use_before_)}});
  FAILPOINT(defragBeforeCopy);  // nothing is rewritten yet
  slices_ = std::make_unique<storage::Slices>(node_.backend().engine(), kDefragmentSliceBytes);
  // What is in memory goes to disk first: only then do the sizes of ranges tell where the rows are.
  node_.environment().helper.submit(
      [this, engine = &node_.backend().engine()] {
        more_ = true;
        status_ = engine->compact("", "");
      },
      [this] {
        if (const std::optional<std::string> text = FAILPOINT_TEXT(defragdbFail)) {
          return fail(Status(base::Code::kUnknown, *text));
        }
        on_slice();
      });
}

void Defragmenter::next() {
  if (stopped_) return;
  node_.environment().helper.submit(
      [this, engine = &node_.backend().engine()] {
        const std::optional<storage::Slices::Range> range = slices_->next();
        more_ = range.has_value();
        if (more_) status_ = engine->compact(range->begin, range->limit);
      },
      [this] { on_slice(); });
}

void Defragmenter::on_slice() {
  if (!status_.ok()) base::fatal("store: the state of the disk is unknown after a failed write: " + status_.to_string());
  if (stopped_) return;
  if (!more_) return finish();
  node_.environment().loop.after(kDefragmentPause, [this] { next(); });
}

void Defragmenter::finish() {
  FAILPOINT(defragBeforeRename);
  const base::Duration took = node_.environment().loop.clock().now() - began_;
  const uint64_t size = node_.db_size_bytes(), in_use = node_.db_size_in_use_bytes();
  node_.metrics().defrag_inflight.set(0);
  node_.metrics().defrag_duration.observe_ns(took.count());
  base::log::info("finished defragmenting directory",
                  {{"path", path_of(node_.config())},
                   {"current-db-size-bytes-diff", difference(size, size_before_)},
                   {"current-db-size-bytes", size},
                   {"current-db-size", size_text(size)},
                   {"current-db-size-in-use-bytes-diff", difference(in_use, in_use_before_)},
                   {"current-db-size-in-use-bytes", in_use},
                   {"current-db-size-in-use", size_text(in_use)},
                   base::log::Field::duration("took", took.count())});
  end(Status());
}

void Defragmenter::fail(const Status& why) {
  node_.metrics().defrag_inflight.set(0);
  end(why);
}

void Defragmenter::end(const Status& how) {
  slices_.reset();
  running_ = false;
  std::vector<std::function<void(const Status&)>> waiting;
  waiting.swap(waiting_);
  for (auto& done : waiting) done(how);
}

void Defragmenter::stop() {
  stopped_ = true;
  std::vector<std::function<void(const Status&)>> waiting;
  waiting.swap(waiting_);
  for (auto& done : waiting) done(errors::stopped());
}

}  // namespace server
