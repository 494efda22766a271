// Metadata of a call, gRPC status codes and limits shared by the server and the client side.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rpc {

// Header fields in the order received, names in lower case, without pseudo-headers and gRPC's own (te, content-type,
// grpc-*, user-agent is kept). Values of names that end in "-bin" are decoded already.
class Metadata {
 public:
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // As add(), into strings that clear() kept: no allocation for a connection's usual fields.
  void append(std::string_view name, std::string_view value) {
    if (spare_.empty()) {
      fields_.emplace_back(name, value);
      return;
    }
    fields_.push_back(std::move(spare_.back()));
    spare_.pop_back();
    fields_.back().first.assign(name);
    fields_.back().second.assign(value);
  }
  void clear() {
    for (auto& field : fields_) {
      if (spare_.size() < kSpareFieldsMax && field.second.capacity() <= kSpareValueBytesMax) spare_.push_back(std::move(field));
    }
    fields_.clear();
  }
  // The first value of `name`; empty view with data() == nullptr when absent.
  std::string_view find(std::string_view name) const {
    for (const auto& [key, value] : fields_) {
      if (key == name) return value;
    }
    return {};
  }
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }
  bool empty() const { return fields_.empty(); }

 private:
  static constexpr size_t kSpareFieldsMax = 4;
  static constexpr size_t kSpareValueBytesMax = 256;
  std::vector<std::pair<std::string, std::string>> fields_;
  std::vector<std::pair<std::string, std::string>> spare_;
};

}  // namespace rpc
