// Metadata of a call, gRPC status codes and limits shared by the server and the client side.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rpc {

// Header fields in the order received, names in lower case, without pseudo-headers and gRPC's own (te, content-type,
// grpc-*, user-agent is kept). Values of names that end in "-bin" are decoded already.
class Metadata {
 public:
  using Field = std::pair<std::string, std::string>;

  Metadata() = default;
  Metadata(const Metadata& other) : fields_(other.copy()), used_(fields_.size()) {}
  Metadata(Metadata&& other) noexcept : fields_(std::move(other.fields_)), used_(std::exchange(other.used_, 0)) {}
  Metadata& operator=(Metadata other) noexcept {
    fields_.swap(other.fields_);
    std::swap(used_, other.used_);
    return *this;
  }

  void add(std::string name, std::string value) {
    if (used_ == fields_.size()) {
      fields_.emplace_back(std::move(name), std::move(value));
    } else {
      fields_[used_] = Field(std::move(name), std::move(value));
    }
    ++used_;
  }
  // As add(), into strings that clear() kept: no allocation for a connection's usual fields.
  void append(std::string_view name, std::string_view value) {
    if (used_ == fields_.size()) return add(std::string(name), std::string(value));
    Field& field = fields_[used_++];
    field.first.clear();
    field.first.append(name);
    field.second.clear();
    field.second.append(value);
  }
  void clear() {
    if (fields_.size() > kSpareFieldsMax) fields_.resize(kSpareFieldsMax);
    for (size_t i = 0; i < used_ && i < fields_.size(); ++i) {
      if (fields_[i].second.capacity() > kSpareValueBytesMax) fields_[i].second = std::string();
    }
    used_ = 0;
  }
  // The first value of `name`; empty view with data() == nullptr when absent.
  std::string_view find(std::string_view name) const {
    for (const auto& [key, value] : fields()) {
      if (key == name) return value;
    }
    return {};
  }
  std::span<const Field> fields() const { return {fields_.data(), used_}; }
  std::vector<Field> copy() const { return {fields_.begin(), fields_.begin() + static_cast<ptrdiff_t>(used_)}; }
  bool empty() const { return used_ == 0; }

 private:
  static constexpr size_t kSpareFieldsMax = 4;
  static constexpr size_t kSpareValueBytesMax = 256;
  std::vector<Field> fields_;  // the first used_, then strings to use again
  size_t used_ = 0;
};

}  // namespace rpc
