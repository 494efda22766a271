// Bytes of another member: a raft message, or a stream of frames. First byte: which. What is taken as a message is written and
// read again as the same, and protobuf takes it too; a stream tells the same story however its bytes are cut.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/verify.h"
#include "peer/frames.h"
#include "raft.pb.h"
#include "wire/raft_message.h"

namespace {

void fuzz_message(std::string_view bytes) {
  const std::optional<wire::RaftMessage> message = wire::decode_raft_message(bytes);
  if (!message) return;
  std::string written, again;
  wire::append_message(*message, written);
  VERIFY(written.size() == wire::encoded_size(*message));
  raftpb::Message proto;
  VERIFY(proto.ParseFromString(written));
  const std::optional<wire::RaftMessage> back = wire::decode_raft_message(written);
  VERIFY(back.has_value());
  wire::append_message(*back, again);
  VERIFY(again == written);
}

std::string story(peer::Channel channel, std::string_view bytes, size_t step) {
  peer::FrameReader reader(channel, base::NodeId(1), base::NodeId(2));
  std::vector<wire::RaftMessage> messages;
  base::Status status;
  for (size_t at = 0; at < bytes.size() && status.ok(); at += step) status = reader.feed(bytes.substr(at, step), messages);
  std::string out;
  for (const wire::RaftMessage& message : messages) wire::append_message(message, out);
  return out + (status.ok() ? "ok" : std::string(status.text()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] % 3 == 0) {
    fuzz_message(bytes);
  } else {
    const peer::Channel channel = data[0] % 3 == 1 ? peer::Channel::kMessage : peer::Channel::kAppend;
    VERIFY(story(channel, bytes, bytes.size() + 1) == story(channel, bytes, 3));
  }
  return 0;
}
