// The two encodings of messages on streams between members: length-prefixed messages ("message"), and msgappv2 ("msgapp"),
// which leaves out what follows from the frame before. Pure. One writer and one reader for each connection, each with its own
// memory of the last frame. Wire-and-disk 3.4.
//
//   message   u64be length, raftpb.Message                      link heartbeat: a message with type 8 and nothing else
//   msgapp    00                                                link heartbeat
//             01 u64be n, n x (u64be length, Entry), u64be commit    an append that continues the one before
//             02 u64be length, raftpb.Message                   any other append
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "wire/raft_message.h"

namespace peer {

enum class Channel { kMessage, kAppend };
// "message", "msgapp": as in the path of the request.
std::string_view path_of(Channel channel);

inline constexpr uint64_t kFrameBytesMax = 512u << 20;  // as etcd's
inline constexpr uint64_t kEntriesMax = 1u << 20;       // of one frame: more than any member sends

class FrameWriter {
 public:
  explicit FrameWriter(Channel channel) : channel_(channel) {}
  // REQUIRES: on kAppend only MsgApp.
  void append(const wire::RaftMessage& message, std::string& out);
  void append_heartbeat(std::string& out) const;

 private:
  const Channel channel_;
  base::Term term_;
  base::Index index_;
};

class FrameReader {
 public:
  // Messages of kAppend are from `remote` to `local`, whatever they say.
  FrameReader(Channel channel, base::NodeId local, base::NodeId remote) : channel_(channel), local_(local), remote_(remote) {}

  // Takes bytes as they come; complete messages are added to `out`, link heartbeats swallowed. Holds at most one unfinished
  // frame, in pieces of what has really arrived. Errors (the stream is to be closed): kResourceExhausted "rafthttp: error limit
  // exceeded", kInvalidArgument for what is no frame.
  base::Status feed(std::string_view bytes, std::vector<wire::RaftMessage>& out);
  // Bytes of an unfinished frame.
  size_t held_bytes() const { return held_.size(); }

 private:
  // How many bytes of `in` were taken; 0: more are needed.
  base::Result<size_t> take_frame(std::string_view in, std::vector<wire::RaftMessage>& out);
  base::Result<size_t> take_message(std::string_view in, size_t at, std::vector<wire::RaftMessage>& out);
  base::Result<size_t> take_entries(std::string_view in, std::vector<wire::RaftMessage>& out);

  const Channel channel_;
  const base::NodeId local_, remote_;
  base::Term term_;
  base::Index index_;
  std::string held_;
  size_t needed_ = 0;  // no sense in looking before so many bytes are held
};

}  // namespace peer
