// Any bytes as a request of the JSON gateway (the first chooses the message) and as a message to print: nothing breaks; what
// was read is a message to protobuf too; and JSON made of a message reads back as that message (a fixed point).
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "rpc.pb.h"
#include "wire/json.h"
#include "wire/utf8.h"

namespace {

wire::JsonTypes types;
const std::array<const google::protobuf::Message*, 6> kMessages = {
    &etcdserverpb::RangeRequest::default_instance(),
    &etcdserverpb::TxnRequest::default_instance(),
    &etcdserverpb::WatchRequest::default_instance(),
    &etcdserverpb::RangeResponse::default_instance(),
    &etcdserverpb::AuthRoleGrantPermissionRequest::default_instance(),
    &etcdserverpb::MemberListResponse::default_instance()};

// Prints `bytes`, reads that and prints it again.
void check_fixed_point(const std::string& bytes, const wire::JsonType& type) {
  std::string json, again_bytes, again_json;
  if (!wire::message_to_json(bytes, type, {}, &json).ok()) return;
  wire::JsonScanner scanner;
  std::string_view rest = json;
  if (scanner.scan(&rest) != wire::JsonScanner::Got::kDocument || !rest.empty()) std::abort();
  const base::Status read = wire::json_to_message(json, type, &again_bytes);
  // Two members of a oneof cannot come out of a message that protobuf wrote; bytes of strangers may hold them.
  if (!read.ok()) {
    if (read.text().find("is already set") == std::string_view::npos) std::abort();
    return;
  }
  if (!wire::message_to_json(again_bytes, type, {}, &again_json).ok() || again_json != json) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const google::protobuf::Message& prototype = *kMessages[data[0] % kMessages.size()];
  const wire::JsonType& type = types.get(*prototype.GetDescriptor());
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);

  wire::JsonDocuments documents(1 << 20);
  documents.append(input);
  documents.end();
  std::string_view document;
  while (documents.next(&document) == wire::JsonDocuments::Got::kDocument) {
    std::string bytes;
    const base::Status read = wire::json_to_message(document, type, &bytes);
    if (!read.ok()) {
      if (!wire::valid_utf8(read.text()) && wire::valid_utf8(document)) std::abort();
      continue;
    }
    const std::unique_ptr<google::protobuf::Message> message(prototype.New());
    const bool parsed = message->ParseFromString(bytes);
    // Deeper than protobuf goes is the only way not to be a message.
    if (!parsed && document.size() < 200) std::abort();
    if (parsed) check_fixed_point(message->SerializeAsString(), type);
  }

  std::string json;
  (void)wire::message_to_json(input, type, {}, &json);
  const std::unique_ptr<google::protobuf::Message> message(prototype.New());
  if (message->ParseFromArray(input.data(), static_cast<int>(input.size()))) {
    check_fixed_point(message->SerializeAsString(), type);
  }
  return 0;
}
