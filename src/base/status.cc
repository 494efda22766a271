#include "base/status.h"

namespace base {

std::string_view code_name(Code code) {
  static constexpr std::string_view kNames[] = {
      "OK",          "Canceled",          "Unknown",            "InvalidArgument", "DeadlineExceeded", "NotFound",
      "AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted",       "OutOfRange",
      "Unimplemented", "Internal",         "Unavailable",        "DataLoss",        "Unauthenticated"};
  const auto i = static_cast<size_t>(code);
  return i < std::size(kNames) ? kNames[i] : std::string_view("Unknown");
}

Status::Status(Code code, std::string text) : state_(std::make_shared<const State>(State{code, std::move(text)})) {
  VERIFY(code != Code::kOk);
}

std::string Status::to_string() const {
  if (ok()) return "OK";
  return std::string(code_name(code())) + ": " + std::string(text());
}

}  // namespace base
