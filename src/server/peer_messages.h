// Raft's messages and those of the transport: the same fields, entries shared. Each knows nothing of the other. Pure.
#pragma once

#include "raft/types.h"
#include "wire/raft_message.h"

namespace server {

wire::RaftMessage to_wire(raft::Message&& message);
// nullopt: a message of a type that never crosses the network, of a sender that is no member, with an entry of unknown type, or
// with a term or index that no log reaches (over 2^62: counting on from there would end at 0).
std::optional<raft::Message> from_wire(wire::RaftMessage&& message);

}  // namespace server
