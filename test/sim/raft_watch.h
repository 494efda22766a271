// What members send each other, held against what Raft promises: one vote a term, one leader a term, one entry at an index and
// term, commits only through an entry of the leader's own term, one change of the members at a time. It sees a broken promise
// when it is made, long before it costs anybody a write. Pure. Source: Raft 3.2-3.6, 4.1, 5.2-5.4.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "wire/raft_message.h"

namespace sim {

class RaftWatch {
 public:
  // Where the sender stands; `committed` is only looked at when it asks for votes.
  struct Sender {
    base::NodeId id;
    base::Index committed, applied;
  };
  // Empty, or which promise is broken. Messages are told in the order in which they are sent.
  std::string sent(const Sender& sender, const wire::RaftMessage& message);
  // Its disk was tampered with: what it promised before does not count any more.
  void forget(base::NodeId id);

 private:
  struct Candidacy {
    base::Index committed, last;  // when it asked for votes
  };
  std::string voted(base::NodeId voter, base::Term term, base::NodeId candidate);
  std::string leads(base::NodeId id, const wire::RaftMessage& message);
  std::string appends(const Sender& sender, const wire::RaftMessage& message);

  using InTerm = std::pair<base::NodeId, base::Term>;
  std::map<InTerm, base::NodeId> votes_;
  std::map<base::Term, base::NodeId> leaders_;
  std::map<InTerm, Candidacy> candidacies_;
  std::map<std::pair<base::Index, base::Term>, size_t> entries_;  // hash of type and data
  std::map<InTerm, base::Index> last_change_;                     // of the members, in the log of that leader
};

}  // namespace sim
