// The hand codec against protobuf: both take the same bytes or both refuse, they read the same, and writing gives the same.
// First byte: which message; the rest is the message.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "raft_internal.pb.h"
#include "rpc.pb.h"
#include "wire/codec.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

bool parse_reference(std::string_view bytes, google::protobuf::Message& out) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  in.SetRecursionLimit(wire::kDepthMax);
  return out.ParseFromCodedStream(&in) && in.ConsumedEntireMessage();
}

template <class Ours, class Reference>
void compare(std::string_view bytes) {
  Ours ours;
  Reference reference;
  const bool taken = wire::parse(bytes, ours);
  require(taken == parse_reference(bytes, reference));
  if (!taken) return;
  reference.DiscardUnknownFields();
  const std::string written = wire::encode(ours);
  require(written == reference.SerializeAsString());
  require(written.size() == wire::encoded_size(ours));
}

// What the body of `op` says once unknown fields are gone.
std::string canonical_body(const wire::InternalRequest& request) {
  const auto* field = etcdserverpb::InternalRaftRequest::descriptor()->FindFieldByNumber(static_cast<int>(request.op));
  require(field != nullptr);
  etcdserverpb::InternalRaftRequest holder;
  auto* message = holder.GetReflection()->MutableMessage(&holder, field);
  require(parse_reference(request.body, *message));
  message->DiscardUnknownFields();
  return message->SerializeAsString();
}

void compare_internal(std::string_view bytes) {
  wire::InternalRequest ours;
  etcdserverpb::InternalRaftRequest reference;
  const bool taken = wire::parse(bytes, ours);
  // Ours does not look into the bodies, so it may take what protobuf refuses, never the other way round.
  if (!parse_reference(bytes, reference)) return;
  require(taken);
  reference.DiscardUnknownFields();
  require(ours.has_header == reference.has_header());
  require(ours.header.id == reference.header().id());
  require(ours.header.username == reference.header().username());
  require(ours.header.auth_revision == reference.header().auth_revision());
  require(ours.old_id == reference.id());
  if (ours.op == wire::Op::kNone) {
    reference.clear_id();
    reference.clear_header();
    require(reference.ByteSizeLong() == 0);
    return;
  }
  const auto* field = reference.GetDescriptor()->FindFieldByNumber(static_cast<int>(ours.op));
  require(reference.GetReflection()->HasField(reference, field));
  require(canonical_body(ours) == reference.GetReflection()->GetMessage(reference, field).SerializeAsString());

  const std::string built = wire::encode_internal_request(ours.header, ours.op, ours.body);
  require(built.size() == wire::internal_request_size(ours.header, ours.op, ours.body.size()));
  wire::InternalRequest again;
  require(wire::parse(built, again));
  require(again.op == ours.op && again.body == ours.body && again.id() == ours.header.id);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  (void)quiet;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 8) {
    case 0:
      compare<wire::RangeRequest, etcdserverpb::RangeRequest>(bytes);
      break;
    case 1:
      compare<wire::PutRequest, etcdserverpb::PutRequest>(bytes);
      break;
    case 2:
      compare<wire::DeleteRangeRequest, etcdserverpb::DeleteRangeRequest>(bytes);
      break;
    case 3:
      compare<wire::TxnRequest, etcdserverpb::TxnRequest>(bytes);
      break;
    case 4:
      compare<wire::CompactionRequest, etcdserverpb::CompactionRequest>(bytes);
      break;
    case 5:
      compare<wire::KeyValue, mvccpb::KeyValue>(bytes);
      break;
    case 6:
      compare<wire::ResponseHeader, etcdserverpb::ResponseHeader>(bytes);
      break;
    case 7:
      compare_internal(bytes);
      break;
  }
  return 0;
}
