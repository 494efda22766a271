// The hand-written WatchResponse against the generated class.
#include "wire/watch.h"

#include <doctest/doctest.h>

#include "rpc.pb.h"

TEST_CASE("wire: a watch response reads back as the message it is") {
  wire::WatchHead head;
  head.header = {.cluster_id = 0xffffffffffffffff, .member_id = 2, .revision = 300, .raft_term = 4};
  const std::string reason(300, 'r');
  for (const bool full : {false, true}) {
    if (full) {
      head.watch_id = -1;
      head.created = head.canceled = head.fragment = true;
      head.compact_revision = 1'000'000;
      head.cancel_reason = reason;
    }
    std::string bytes, parts;
    wire::append(head, bytes);
    wire::append_watch_header(head.header, parts);
    wire::append_watch_fields(head, parts);
    CHECK(bytes == parts);
    mvccpb::KeyValue pair, prev;
    pair.set_key("k");
    pair.set_value(std::string(full ? 70'000 : 1, 'v'));
    prev.set_key("k");
    prev.set_mod_revision(7);
    const std::string pair_bytes = pair.SerializeAsString(), prev_bytes = prev.SerializeAsString();
    const std::string_view prev_view = prev_bytes;
    std::string events;
    wire::append_watch_event(false, pair_bytes, nullptr, events);
    const size_t first = events.size();
    wire::append_watch_event(true, prev_bytes, &prev_view, events);
    CHECK(wire::first_watch_event(events).size() == first);
    CHECK(wire::first_watch_event(std::string_view(events).substr(first)).size() == events.size() - first);

    etcdserverpb::WatchResponse expected, got;
    expected.mutable_header()->set_cluster_id(head.header.cluster_id);
    expected.mutable_header()->set_member_id(2);
    expected.mutable_header()->set_revision(300);
    expected.mutable_header()->set_raft_term(4);
    expected.set_watch_id(head.watch_id);
    expected.set_created(head.created);
    expected.set_canceled(head.canceled);
    expected.set_compact_revision(head.compact_revision);
    expected.set_cancel_reason(std::string(head.cancel_reason));
    expected.set_fragment(head.fragment);
    *expected.add_events()->mutable_kv() = pair;
    mvccpb::Event* second = expected.add_events();
    second->set_type(mvccpb::Event::DELETE);
    *second->mutable_kv() = prev;
    *second->mutable_prev_kv() = prev;
    REQUIRE(got.ParseFromString(bytes + events));
    CHECK(got.SerializeAsString() == expected.SerializeAsString());
    CHECK(bytes + events == expected.SerializeAsString());
  }
}
