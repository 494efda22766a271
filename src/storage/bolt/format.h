// The pages of a bbolt file, for its reader and its writer. All numbers are little-endian; wire-and-disk 7.
//
//   page     u64 id, u16 flags, u16 count, u32 overflow     overflow: pages behind this one that belong to it
//   meta     (pages 0 and 1) u32 magic, u32 version, u32 page size, u32 0, u64 root, u64 0, u64 freelist, u64 end, u64 txid,
//            u64 FNV-1a of these 56 bytes
//   leaf     count x { u32 flags, u32 pos, u32 key size, u32 value size }, then keys and values; pos counts from its element
//   branch   count x { u32 pos, u32 key size, u64 page }, then keys: the first key of each child
//   bucket   value of a leaf element with flag 1: u64 root, u64 0; with root 0 a whole leaf page follows: inline
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace storage::bolt {

inline constexpr size_t kPageHeaderBytes = 16;
inline constexpr size_t kElementBytes = 16;  // of leaf and branch alike
inline constexpr size_t kMetaBytes = 64;     // with its checksum, behind the page header
inline constexpr size_t kMetaSummedBytes = 56;
inline constexpr size_t kBucketHeaderBytes = 16;

inline constexpr uint16_t kBranchPage = 0x01;
inline constexpr uint16_t kLeafPage = 0x02;
inline constexpr uint16_t kMetaPage = 0x04;
inline constexpr uint32_t kBucketElement = 0x01;

inline constexpr uint32_t kMagic = 0xED0CDAED;
inline constexpr uint32_t kFormatVersion = 2;
inline constexpr uint64_t kNoFreelist = UINT64_MAX;
inline constexpr uint64_t kFirstPage = 2;  // behind the metas

inline constexpr size_t kKeyBytesMax = 32768;
inline constexpr size_t kValueBytesMax = (size_t{1} << 31) - 2;

inline uint64_t fnv1a(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace storage::bolt
