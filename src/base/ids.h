// Numbers that must not mix. Each is one machine word with order and distance; conversion is explicit, by value().
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace base {

template <class Tag, class Rep>
class StrongId {
 public:
  using rep = Rep;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }

  friend constexpr auto operator<=>(StrongId a, StrongId b) = default;
  constexpr StrongId& operator++() {
    ++value_;
    return *this;
  }
  constexpr StrongId& operator--() {
    --value_;
    return *this;
  }
  friend constexpr StrongId operator+(StrongId a, Rep distance) { return StrongId(a.value_ + distance); }
  friend constexpr StrongId operator-(StrongId a, Rep distance) { return StrongId(a.value_ - distance); }
  friend constexpr Rep operator-(StrongId a, StrongId b) { return a.value_ - b.value_; }

 private:
  Rep value_ = 0;
};

struct TermTag;
struct IndexTag;
struct NodeIdTag;
struct LeaseIdTag;

using Term = StrongId<TermTag, uint64_t>;      // Raft term; 0: none
using Index = StrongId<IndexTag, uint64_t>;    // Raft log index; 0: before the first entry
using NodeId = StrongId<NodeIdTag, uint64_t>;  // member id; 0: none
using LeaseId = StrongId<LeaseIdTag, int64_t>; // 0: no lease

inline constexpr NodeId kNoNode{0};
inline constexpr LeaseId kNoLease{0};

}  // namespace base

template <class Tag, class Rep>
struct std::hash<base::StrongId<Tag, Rep>> {
  size_t operator()(base::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>()(id.value()); }
};
