// Unary calls whose messages go through the generated classes: everything but the hot path.
#pragma once

#include <google/protobuf/message.h>

#include "rpc.pb.h"
#include "rpc/server.h"
#include "server/node.h"
#include "server/services.h"

namespace server {

// What grpc-go answers to bytes that are not the method's message.
inline base::Status unmarshal_error() {
  return base::Status(base::Code::kInternal, "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data");
}

// Admission, then the request; false: the call is answered already.
inline bool begin(const Node& node, rpc::UnaryCall& call, OnLearner on_learner, google::protobuf::Message* request) {
  const std::string_view bytes = call.request();
  base::Status admitted = admit(node, call.context(), on_learner);
  if (admitted.ok() && !request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) admitted = unmarshal_error();
  if (admitted.ok()) return true;
  call.finish(std::move(admitted));
  return false;
}

inline void fill_header(const Node& node, int64_t revision, etcdserverpb::ResponseHeader* header) {
  const wire::ResponseHeader from = node.header(revision);
  header->set_cluster_id(from.cluster_id);
  header->set_member_id(from.member_id);
  header->set_revision(from.revision);
  header->set_raft_term(from.raft_term);
}

}  // namespace server
