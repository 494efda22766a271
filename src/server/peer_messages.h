// Raft's messages and those of the transport: the same fields, entries shared. Each knows nothing of the other. Pure.
#pragma once

#include "raft/types.h"
#include "wire/raft_message.h"

namespace server {

wire::RaftMessage to_wire(raft::Message&& message);
// nullopt: a message of a type that never crosses the network, of a sender that is no member, or with an entry of unknown type.
std::optional<raft::Message> from_wire(wire::RaftMessage&& message);

}  // namespace server
