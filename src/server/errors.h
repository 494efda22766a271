// The errors of etcd's catalogue that the glue itself gives, with the code and text that go on the wire (feature map 2.1, 2.2).
// Clients recover the error from the text: byte-exact. Errors of the store come from mvcc/ already in this form.
#pragma once

#include "base/status.h"

namespace server::errors {

using base::Code;
using base::Status;

inline Status no_leader() { return Status(Code::kUnavailable, "etcdserver: no leader"); }
inline Status not_leader() { return Status(Code::kFailedPrecondition, "etcdserver: not leader"); }
inline Status bad_leader_transferee() { return Status(Code::kFailedPrecondition, "etcdserver: bad leader transferee"); }
inline Status leader_changed() { return Status(Code::kUnavailable, "etcdserver: leader changed"); }
inline Status stopped() { return Status(Code::kUnavailable, "etcdserver: server stopped"); }
inline Status timeout() { return Status(Code::kUnavailable, "etcdserver: request timed out"); }
inline Status timeout_leader_fail() {
  return Status(Code::kUnavailable, "etcdserver: request timed out, possibly due to previous leader failure");
}
inline Status timeout_connection_lost() {
  return Status(Code::kUnavailable, "etcdserver: request timed out, possibly due to connection lost");
}
// Of a proposal that nobody was there to be given to.
inline Status deadline_exceeded() { return Status(Code::kDeadlineExceeded, "context deadline exceeded"); }
inline Status timeout_waiting_applied() {
  return Status(Code::kUnavailable, "etcdserver: request timed out, waiting for the applied index took too long");
}
// Of a member that does not lead, to another member.
inline Status not_primary() { return Status(Code::kFailedPrecondition, "not a primary lessor"); }
inline Status request_too_large() { return Status(Code::kInvalidArgument, "etcdserver: request is too large"); }
// Travels with Unknown, as from etcd (R2.64).
inline Status too_many_requests() { return Status(Code::kUnknown, "etcdserver: too many requests"); }
inline Status no_space() { return Status(Code::kResourceExhausted, "etcdserver: mvcc: database space exceeded"); }
inline Status corrupt() { return Status(Code::kDataLoss, "etcdserver: corrupt cluster"); }
inline Status cluster_id_mismatch() { return Status(Code::kFailedPrecondition, "etcdserver: cluster ID mismatch"); }
inline Status not_capable() { return Status(Code::kFailedPrecondition, "etcdserver: not capable"); }
inline Status learner_unsupported() { return Status(Code::kFailedPrecondition, "etcdserver: rpc not supported for learner"); }
inline Status invalid_client_api_version() { return Status(Code::kInvalidArgument, "etcdserver: invalid client api version"); }

// --- membership
inline Status member_not_found() { return Status(Code::kNotFound, "etcdserver: member not found"); }
inline Status member_exists() { return Status(Code::kFailedPrecondition, "etcdserver: member ID already exist"); }
inline Status peer_urls_exist() { return Status(Code::kFailedPrecondition, "etcdserver: Peer URLs already exists"); }
inline Status bad_member_urls() { return Status(Code::kInvalidArgument, "etcdserver: given member URLs are invalid"); }
inline Status member_not_learner() {
  return Status(Code::kFailedPrecondition, "etcdserver: can only promote a learner member");
}
// The same between members.
inline Status member_not_learner_inside() {
  return Status(Code::kFailedPrecondition, "membership: can only promote a learner member");
}
inline Status learner_not_ready() {
  return Status(Code::kFailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader");
}
inline Status too_many_learners() {
  return Status(Code::kFailedPrecondition, "etcdserver: too many learner members in cluster");
}
inline Status unhealthy() { return Status(Code::kUnavailable, "etcdserver: unhealthy cluster"); }
// Both travel with Unknown, as from etcd (R2.65, R2.66).
inline Status not_enough_started_members() {
  return Status(Code::kUnknown, "etcdserver: re-configuration failed due to not enough started members");
}
inline Status timeout_leader_transfer() {
  return Status(Code::kUnknown, "etcdserver: request timed out, leader transfer took too long");
}

}  // namespace server::errors
