#include "peer/frames.h"

#include "base/bytes.h"
#include "base/verify.h"

namespace peer {
namespace {

using base::Code;
using base::Index;
using base::Result;
using base::Status;
using wire::RaftMessage;
using wire::RaftMessageType;

enum FrameType : char { kLinkHeartbeat = 0, kContinued = 1, kWhole = 2 };
constexpr size_t kNumberBytes = 8;

Status over_limit() { return Status(Code::kResourceExhausted, "rafthttp: error limit exceeded"); }

bool is_link_heartbeat(const RaftMessage& message) {
  return message.type == RaftMessageType::kHeartbeat && message.from == base::kNoNode && message.to == base::kNoNode;
}

}  // namespace

std::string_view path_of(Channel channel) { return channel == Channel::kMessage ? "message" : "msgapp"; }

void FrameWriter::append(const RaftMessage& message, std::string& out) {
  if (channel_ == Channel::kMessage) {
    base::append_be64(out, wire::encoded_size(message));
    return wire::append_message(message, out);
  }
  VERIFY(message.type == RaftMessageType::kApp);
  if (message.index == index_ && message.log_term == term_ && message.term == term_) {
    out += static_cast<char>(kContinued);
    base::append_be64(out, message.entries.size());
    for (const wire::RaftEntry& entry : message.entries) {
      base::append_be64(out, wire::encoded_size(entry));
      wire::append_entry(entry, out);
    }
    base::append_be64(out, message.commit.value());
    index_ = index_ + message.entries.size();
    return;
  }
  out += static_cast<char>(kWhole);
  base::append_be64(out, wire::encoded_size(message));
  wire::append_message(message, out);
  term_ = message.term;
  index_ = message.entries.empty() ? message.index : message.entries.back().index;
}

void FrameWriter::append_heartbeat(std::string& out) const {
  if (channel_ == Channel::kAppend) {
    out += static_cast<char>(kLinkHeartbeat);
    return;
  }
  RaftMessage beat;
  beat.type = RaftMessageType::kHeartbeat;
  base::append_be64(out, wire::encoded_size(beat));
  wire::append_message(beat, out);
}

Status FrameReader::feed(std::string_view bytes, std::vector<RaftMessage>& out) {
  const bool joined = !held_.empty();
  if (joined) {
    held_ += bytes;
    if (held_.size() < needed_) return {};
    bytes = held_;
  }
  size_t taken = 0;
  while (taken < bytes.size()) {
    needed_ = 0;  // what the frame before needed says nothing of this one
    Result<size_t> frame = take_frame(bytes.substr(taken), out);
    if (!frame.ok()) return frame.status();
    if (*frame == 0) break;
    taken += *frame;
  }
  if (joined)
    held_.erase(0, taken);
  else
    held_.assign(bytes.substr(taken));
  return {};
}

Result<size_t> FrameReader::take_frame(std::string_view in, std::vector<RaftMessage>& out) {
  if (channel_ == Channel::kMessage) return take_message(in, 0, out);
  switch (in[0]) {
    case kLinkHeartbeat:
      return size_t{1};
    case kContinued:
      return take_entries(in, out);
    case kWhole:
      return take_message(in, 1, out);
    default:
      return Status(Code::kInvalidArgument, "failed to parse type " + std::to_string(in[0]) + " in msgappv2 stream");
  }
}

// `at`: where the length stands.
Result<size_t> FrameReader::take_message(std::string_view in, size_t at, std::vector<RaftMessage>& out) {
  if (in.size() < at + kNumberBytes) return size_t{0};
  const uint64_t size = base::load_be64(in.data() + at);
  if (size > kFrameBytesMax) return over_limit();
  at += kNumberBytes;
  needed_ = at + size;
  if (in.size() < needed_) return size_t{0};
  std::optional<RaftMessage> message = wire::decode_raft_message(in.substr(at, size));
  if (!message) return Status(Code::kInvalidArgument, "rafthttp: a frame is no raft message");
  at += size;
  if (channel_ == Channel::kMessage) {
    if (!is_link_heartbeat(*message)) out.push_back(std::move(*message));
    return at;
  }
  term_ = message->term;
  index_ = message->entries.empty() ? message->index : message->entries.back().index;
  out.push_back(std::move(*message));
  return at;
}

Result<size_t> FrameReader::take_entries(std::string_view in, std::vector<RaftMessage>& out) {
  size_t at = 1;
  if (in.size() < at + kNumberBytes) return size_t{0};
  const uint64_t count = base::load_be64(in.data() + at);
  if (count > kEntriesMax) return over_limit();
  at += kNumberBytes;
  // First whether all of it is there, so that nothing is decoded twice. A size counts when everything before it has come and
  // not earlier: what is wrong is told at the same byte however they were cut. Behind the last entry stands the commit index.
  size_t end = at;
  for (uint64_t i = 0; i <= count; ++i) {
    needed_ = end + kNumberBytes;
    if (in.size() < needed_) return size_t{0};
    if (i == count) break;
    const uint64_t size = base::load_be64(in.data() + end);
    if (size > kFrameBytesMax || end + size > kFrameBytesMax) return over_limit();
    end += kNumberBytes + size;
  }
  RaftMessage message;
  message.type = RaftMessageType::kApp;
  message.from = remote_;
  message.to = local_;
  message.term = message.log_term = term_;
  message.index = index_;
  message.entries.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t size = base::load_be64(in.data() + at);
    std::optional<wire::RaftEntry> entry = wire::decode_raft_entry(in.substr(at + kNumberBytes, size));
    if (!entry) return Status(Code::kInvalidArgument, "rafthttp: a frame is no raft entry");
    message.entries.push_back(std::move(*entry));
    at += kNumberBytes + size;
  }
  message.commit = Index(base::load_be64(in.data() + at));
  index_ = index_ + count;
  out.push_back(std::move(message));
  return at + kNumberBytes;
}

}  // namespace peer
