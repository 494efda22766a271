// Texts for people: messages, entries, Ready as etcd's Describe functions print them. For logs and test scripts.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "raft/raw_node.h"
#include "raft/types.h"

namespace raft {

// How the data of a normal entry is shown; without one it is quoted.
using EntryFormatter = std::function<std::string(std::string_view data)>;

// Go's strconv.Quote of bytes.
std::string quote(std::string_view bytes);

std::string describe(const HardState& state);
std::string describe(const SoftState& state);
std::string describe(const ConfState& state);
std::string describe(const Snapshot& snapshot);
std::string describe(const Entry& entry, const EntryFormatter& formatter = nullptr);
std::string describe(std::span<const Entry> entries, const EntryFormatter& formatter = nullptr);  // a line each
std::string describe(const Message& message, const EntryFormatter& formatter = nullptr);
std::string describe(const Ready& ready, const EntryFormatter& formatter = nullptr);
std::string describe(const ConfChangeV2& change);
std::string describe(const ProgressMap& progress);  // a line each

// "v1 l2 r3 u4": add voter, add learner, remove, update.
std::string changes_to_string(std::span<const ConfChangeSingle> changes);
base::Result<std::vector<ConfChangeSingle>> changes_from_string(std::string_view text);

}  // namespace raft
