#include "base/heap_profile.h"

#include <execinfo.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define ETCD_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ETCD_SANITIZED 1
#endif

namespace base::heap_profile {
namespace {

constexpr size_t kFilterSlots = 1 << 16;
constexpr int kOwnFrames = 2;  // of the sampling itself

struct Stack {
  std::vector<void*> frames;
  uint64_t live = 0, live_bytes = 0, all = 0, all_bytes = 0;
};
struct Live {
  size_t stack, bytes;
};

// Never destroyed: memory is given back until the very end.
struct Samples {
  std::mutex mutex;
  std::vector<Stack> stacks{1};                 // [0]: of unknown ones
  std::unordered_multimap<uint64_t, size_t> by_hash;
  std::unordered_map<void*, Live> live;
  // How many sampled allocations have an address of this kind: most that end have none, and no lock is taken.
  std::array<std::atomic<uint32_t>, kFilterSlots> filter{};
};

std::atomic<bool> g_running{false};
Samples* g_samples = nullptr;  // set once, before g_running
thread_local bool t_inside = false;
thread_local int64_t t_bytes_left = 0;
thread_local uint64_t t_random = 0;

// What the samples themselves need is not sampled.
struct Inside {
  Inside() { t_inside = true; }
  ~Inside() { t_inside = false; }
};

size_t slot_of(const void* at) { return (reinterpret_cast<uintptr_t>(at) >> 4) * 0x9e3779b97f4a7c15u >> 48; }

// Exponential, so that every byte is as likely to be sampled as any other.
int64_t next_distance() {
  if (t_random == 0) t_random = reinterpret_cast<uintptr_t>(&t_random) | 1;
  t_random ^= t_random << 13;
  t_random ^= t_random >> 7;
  t_random ^= t_random << 17;
  const double uniform = (static_cast<double>(t_random >> 11) + 1) / 9007199254740993.0;
  return static_cast<int64_t>(-std::log(uniform) * static_cast<double>(kBytesPerSample)) + 1;
}

size_t stack_of(Samples& samples, void* const* frames, size_t count) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < count; ++i) hash = (hash ^ reinterpret_cast<uintptr_t>(frames[i])) * 1099511628211u;
  const auto [first, last] = samples.by_hash.equal_range(hash);
  for (auto at = first; at != last; ++at) {
    const std::vector<void*>& known = samples.stacks[at->second].frames;
    if (known.size() == count && std::equal(known.begin(), known.end(), frames)) return at->second;
  }
  if (samples.stacks.size() >= kStacksMax) return 0;
  samples.stacks.push_back({{frames, frames + count}});
  samples.by_hash.emplace(hash, samples.stacks.size() - 1);
  return samples.stacks.size() - 1;
}

[[gnu::noinline, maybe_unused]] void record(void* at, size_t bytes) {
  const Inside inside;
  const bool first = t_random == 0;
  t_bytes_left = next_distance();
  if (first) return;  // A thread's first distance began with this allocation.
  void* frames[kFramesMax + kOwnFrames];
  const int depth = backtrace(frames, kFramesMax + kOwnFrames);
  const int own = std::min(depth, kOwnFrames);
  Samples& samples = *g_samples;
  const std::lock_guard lock(samples.mutex);
  const size_t stack = stack_of(samples, frames + own, static_cast<size_t>(depth - own));
  Stack& sums = samples.stacks[stack];
  ++sums.all;
  sums.all_bytes += bytes;
  if (samples.live.size() >= kLiveMax) return;
  if (!samples.live.emplace(at, Live{stack, bytes}).second) return;
  ++sums.live;
  sums.live_bytes += bytes;
  samples.filter[slot_of(at)].fetch_add(1, std::memory_order_relaxed);
}

[[gnu::noinline, maybe_unused]] void forget(void* at) {
  const Inside inside;
  Samples& samples = *g_samples;
  const std::lock_guard lock(samples.mutex);
  const auto found = samples.live.find(at);
  if (found == samples.live.end()) return;
  Stack& sums = samples.stacks[found->second.stack];
  --sums.live;
  sums.live_bytes -= found->second.bytes;
  samples.live.erase(found);
  samples.filter[slot_of(at)].fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace

void start() {
  if (g_running.load()) return;
  void* frame = nullptr;
  (void)backtrace(&frame, 1);  // Loads what it needs now.
  g_samples = new Samples;
  g_running.store(true, std::memory_order_release);
}

std::string text() {
  std::string out;
  if (!g_running.load(std::memory_order_acquire)) return out;
  const Inside inside;
  const std::lock_guard lock(g_samples->mutex);
  Stack sum;
  for (const Stack& stack : g_samples->stacks) {
    sum.live += stack.live;
    sum.live_bytes += stack.live_bytes;
    sum.all += stack.all;
    sum.all_bytes += stack.all_bytes;
  }
  const auto line = [&out](const Stack& stack) {
    out += std::to_string(stack.live) + ": " + std::to_string(stack.live_bytes) + " [" + std::to_string(stack.all) + ": " +
           std::to_string(stack.all_bytes) + "] @";
  };
  out += "heap profile: ";
  line(sum);
  out += " heap_v2/" + std::to_string(kBytesPerSample) + "\n";
  for (const Stack& stack : g_samples->stacks) {
    if (stack.all == 0) continue;
    line(stack);
    for (void* frame : stack.frames) {
      char address[24];
      (void)std::snprintf(address, sizeof address, " 0x%zx", reinterpret_cast<size_t>(frame));
      out += address;
    }
    out += '\n';
  }
  return out;
}

#ifndef ETCD_SANITIZED

// Only for the operators below.
inline void* sampled(void* at, size_t bytes) {
  if (!g_running.load(std::memory_order_acquire)) [[likely]] return at;
  t_bytes_left -= static_cast<int64_t>(bytes);
  if (t_bytes_left <= 0 && !t_inside) record(at, bytes);
  return at;
}

inline void ended(void* at) {
  if (!g_running.load(std::memory_order_acquire)) [[likely]] return;
  if (g_samples->filter[slot_of(at)].load(std::memory_order_relaxed) > 0 && !t_inside) forget(at);
}

[[gnu::noinline]] void* retry(size_t bytes, size_t alignment, bool may_throw) {
  for (;;) {
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) {
      if (may_throw) throw std::bad_alloc();
      return nullptr;
    }
    handler();
    void* at = alignment == 0 ? std::malloc(bytes) : std::aligned_alloc(alignment, bytes);
    if (at != nullptr) return at;
  }
}

inline void* take(size_t bytes, bool may_throw) {
  void* at = std::malloc(bytes == 0 ? 1 : bytes);
  if (at == nullptr) [[unlikely]] at = retry(bytes, 0, may_throw);
  return sampled(at, bytes);
}

inline void* take_aligned(size_t bytes, std::align_val_t alignment, bool may_throw) {
  const auto to = static_cast<size_t>(alignment);
  const size_t rounded = (bytes + to - 1) / to * to;
  void* at = std::aligned_alloc(to, rounded == 0 ? to : rounded);
  if (at == nullptr) [[unlikely]] at = retry(rounded, to, may_throw);
  return sampled(at, bytes);
}

inline void give(void* at) {
  if (at == nullptr) return;
  ended(at);
  std::free(at);
}

#endif

}  // namespace base::heap_profile

#ifndef ETCD_SANITIZED

using base::heap_profile::give;
using base::heap_profile::take;
using base::heap_profile::take_aligned;

void* operator new(size_t bytes) { return take(bytes, true); }
void* operator new[](size_t bytes) { return take(bytes, true); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return take(bytes, false); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return take(bytes, false); }
void* operator new(size_t bytes, std::align_val_t to) { return take_aligned(bytes, to, true); }
void* operator new[](size_t bytes, std::align_val_t to) { return take_aligned(bytes, to, true); }
void* operator new(size_t bytes, std::align_val_t to, const std::nothrow_t&) noexcept { return take_aligned(bytes, to, false); }
void* operator new[](size_t bytes, std::align_val_t to, const std::nothrow_t&) noexcept {
  return take_aligned(bytes, to, false);
}
void operator delete(void* at) noexcept { give(at); }
void operator delete[](void* at) noexcept { give(at); }
void operator delete(void* at, size_t) noexcept { give(at); }
void operator delete[](void* at, size_t) noexcept { give(at); }
void operator delete(void* at, const std::nothrow_t&) noexcept { give(at); }
void operator delete[](void* at, const std::nothrow_t&) noexcept { give(at); }
void operator delete(void* at, std::align_val_t) noexcept { give(at); }
void operator delete[](void* at, std::align_val_t) noexcept { give(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { give(at); }
void operator delete[](void* at, size_t, std::align_val_t) noexcept { give(at); }
void operator delete(void* at, std::align_val_t, const std::nothrow_t&) noexcept { give(at); }
void operator delete[](void* at, std::align_val_t, const std::nothrow_t&) noexcept { give(at); }

#endif
