// A walk over a database of named buckets: what the bbolt reader gives and what the writer takes. Forward only, one thread at a
// time, all rows of a bucket together, buckets and keys in byte order: the order of bbolt itself.
#pragma once

#include <string_view>

#include "base/status.h"

namespace storage::bolt {

class Rows {
 public:
  virtual ~Rows() = default;
  // To the first row, then to the next. False: there is none, or status() says what is wrong.
  virtual bool next() = 0;
  // REQUIRES: next() returned true. Valid until the next call. A bucket without rows is not met.
  virtual std::string_view bucket() const = 0;
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual const base::Status& status() const = 0;
};

}  // namespace storage::bolt
