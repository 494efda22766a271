// Requests as etcd's logs show them. Most are protobuf's text form on one line, `key:"a" limit:5`; where a value or a password
// must not be seen, etcd 3.7 writes an older form with a space behind every field, `key:"a" value_size:5 `. Values appear as
// their sizes only, passwords never. Pure. Cost: a parse and a string; for lines that are written, not for every request.
// Source: etcd api/etcdserverpb/raft_internal_stringer.go, Go's prototext.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace google::protobuf {
class Message;
}

namespace server {

// A message as Go's String() shows it, unknown fields included: fields in the order of their declaration, one space between,
// strings with \n, \x01 and \u0085 for what cannot be seen, `name:{...}` for messages.
std::string message_text(const google::protobuf::Message& message);

// Bytes of a PutRequest or TxnRequest: `key:"a" value_size:5 `, `compare:<...> success:<request_put:<...>> failure:<>`.
// Empty if they do not parse.
std::string put_text(std::string_view body);
std::string txn_text(std::string_view body);

// A log entry, an InternalRaftRequest: `header:<ID:7 > put:<...>`, or `header:{ID:7} delete_range:{...}`. Empty if it does not
// parse.
std::string entry_text(std::string_view entry);

// What etcd calls an error inside, where the text for clients is another one: `lease not found`, `mvcc: ...`.
std::string_view internal_error_text(const base::Status& status);

}  // namespace server
