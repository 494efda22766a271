// Where memory was asked for: a sample of what operator new gives out, about one allocation in each kBytesPerSample bytes, with
// its stack, as Go's heap profiler does it. This file's operators take the place of the library's in programs that link it; the
// memory itself is still malloc's. C's malloc is not sampled. Until start() an allocation and its end cost a test each.
// Any thread. Without effect under sanitizers, which have operators of their own.
#pragma once

#include <cstdint>
#include <string>

namespace base::heap_profile {

inline constexpr int64_t kBytesPerSample = 512 << 10;  // Go's runtime.MemProfileRate
inline constexpr size_t kStacksMax = 16384;            // different ones told apart; what comes on top has none
inline constexpr size_t kLiveMax = 1 << 20;            // sampled allocations in use; of more only the sums are kept
inline constexpr int kFramesMax = 48;

// From now on. There is no end.
void start();
// The samples in the text form that `pprof` and `go tool pprof` read (heap_v2), without the list of mapped files.
std::string text();

}  // namespace base::heap_profile
