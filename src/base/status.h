// Outcome of what the world does: a code, and a text for a person. Codes are gRPC's, texts are etcd's, so that the edge
// translates nothing. What *we* did wrong is not a Status but a VERIFY (base/verify.h). Cost: an ok Status is one pointer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/verify.h"

namespace base {

// The numbers are gRPC's status codes and travel as `grpc-status`.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// gRPC's spelling, as in Go's codes.Code.String(): "OK", "InvalidArgument", "DeadlineExceeded", ...
std::string_view code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  // REQUIRES: code != kOk.
  Status(Code code, std::string text);

  bool ok() const { return state_ == nullptr; }
  Code code() const { return ok() ? Code::kOk : state_->code; }
  // Empty when ok. Lives as long as this Status or a copy of it.
  std::string_view text() const { return ok() ? std::string_view{} : std::string_view(state_->text); }
  // "OutOfRange: etcdserver: mvcc: required revision has been compacted", for logs.
  std::string to_string() const;

  friend bool operator==(const Status& a, const Status& b) { return a.code() == b.code() && a.text() == b.text(); }

 private:
  struct State {
    Code code;
    std::string text;
  };
  std::shared_ptr<const State> state_;
};

// A value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                                   // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) { VERIFY(!status_.ok()); }  // NOLINT: implicit by design

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // REQUIRES: ok().
  T& value() & {
    VERIFY(ok());
    return *value_;
  }
  const T& value() const& {
    VERIFY(ok());
    return *value_;
  }
  T&& value() && {
    VERIFY(ok());
    return std::move(*value_);
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace base
