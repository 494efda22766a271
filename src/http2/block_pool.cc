#include "http2/block_pool.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HTTP2_PLAIN_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HTTP2_PLAIN_MALLOC 1
#endif
#endif

namespace http2 {

#ifdef HTTP2_PLAIN_MALLOC

nghttp2_mem* block_pool() { return nullptr; }

#else

namespace {

constexpr size_t kStepBytes = 64;
constexpr size_t kClasses = 16;            // blocks of up to kStepBytes * kClasses bytes are pooled, header included
constexpr size_t kIdlePerClassMax = 2048;  // kept for reuse; more go back to malloc

// In front of every block; keeps what follows aligned for anything.
struct alignas(std::max_align_t) Header {
  size_t size_class;  // kClasses: not pooled
  size_t bytes;       // that follow
};

struct Idle {
  Idle* next;
};

class Pool {
 public:
  ~Pool() {
    for (Idle* list : lists_) {
      while (list != nullptr) std::free(std::exchange(list, list->next));
    }
  }

  void* take(size_t bytes) {
    const size_t size_class = (bytes + sizeof(Header) + kStepBytes - 1) / kStepBytes;
    if (size_class > kClasses || size_class == 0) return fresh(bytes + sizeof(Header), kClasses, bytes);
    Idle*& list = lists_[size_class - 1];
    if (list == nullptr) return fresh(size_class * kStepBytes, size_class - 1, size_class * kStepBytes - sizeof(Header));
    Idle* block = list;
    list = block->next;
    --idle_[size_class - 1];
    return made(block, size_class - 1, size_class * kStepBytes - sizeof(Header));
  }

  void give(void* block) {
    if (block == nullptr) return;
    Header* header = header_of(block);
    const size_t size_class = header->size_class;
    if (size_class == kClasses || idle_[size_class] >= kIdlePerClassMax) return std::free(header);
    ++idle_[size_class];
    auto* idle = reinterpret_cast<Idle*>(header);
    idle->next = lists_[size_class];
    lists_[size_class] = idle;
  }

  void* change(void* block, size_t bytes) {
    if (block == nullptr) return take(bytes);
    const size_t before = header_of(block)->bytes;
    if (before >= bytes) return block;
    void* larger = take(bytes);
    if (larger == nullptr) return nullptr;
    std::memcpy(larger, block, before);
    give(block);
    return larger;
  }

 private:
  static Header* header_of(void* block) { return static_cast<Header*>(block) - 1; }
  static void* made(void* memory, size_t size_class, size_t bytes) {
    auto* header = static_cast<Header*>(memory);
    header->size_class = size_class;
    header->bytes = bytes;
    return header + 1;
  }
  static void* fresh(size_t total, size_t size_class, size_t bytes) {
    void* memory = total < bytes ? nullptr : std::malloc(total);
    return memory == nullptr ? nullptr : made(memory, size_class, bytes);
  }

  std::array<Idle*, kClasses> lists_{};
  std::array<size_t, kClasses> idle_{};
};

Pool& pool() {
  thread_local Pool mine;
  return mine;
}

void* pool_malloc(size_t bytes, void*) { return pool().take(bytes); }
void pool_free(void* block, void*) { pool().give(block); }
void* pool_calloc(size_t count, size_t each, void*) {
  if (each != 0 && count > SIZE_MAX / each) return nullptr;
  void* block = pool().take(count * each);
  if (block != nullptr) std::memset(block, 0, count * each);
  return block;
}
void* pool_realloc(void* block, size_t bytes, void*) { return pool().change(block, bytes); }

}  // namespace

nghttp2_mem* block_pool() {
  static nghttp2_mem mem = {nullptr, pool_malloc, pool_free, pool_calloc, pool_realloc};
  return &mem;
}

#endif

}  // namespace http2
