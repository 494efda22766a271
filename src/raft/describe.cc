#include "raft/describe.h"

#include <charconv>

#include "base/utf8.h"
#include "raft/logger.h"

namespace raft {

namespace {

std::string decimal(NodeId id) { return std::to_string(id.value()); }

// Go's %v of a list of numbers: "[1 2 3]".
std::string list_of(const std::vector<NodeId>& ids) {
  std::string out = "[";
  for (const NodeId id : ids) {
    if (out.size() > 1) out += ' ';
    out += decimal(id);
  }
  return out + "]";
}

std::string target(NodeId id) {
  if (id == kNoNode) return "None";
  if (id == kLocalAppendThread) return "AppendThread";
  if (id == kLocalApplyThread) return "ApplyThread";
  return base::hex(id.value());
}

void append_escape(std::string& out, const char* prefix, uint32_t value, int digits) {
  out += prefix;
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) out += "0123456789abcdef"[value >> shift & 0xf];
}

void append_quoted(std::string& out, std::string_view bytes, const base::Rune& rune) {
  if (!rune.valid) {
    append_escape(out, "\\x", static_cast<uint8_t>(bytes.front()), 2);
    return;
  }
  switch (rune.value) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\a':
      out += "\\a";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\v':
      out += "\\v";
      return;
    default:
      break;
  }
  if (rune.value < 0x20 || rune.value == 0x7f) {
    append_escape(out, "\\x", rune.value, 2);
  } else if (rune.value >= 0x80 && rune.value <= 0xa0) {
    append_escape(out, "\\u", rune.value, 4);
  } else {
    out += bytes.substr(0, rune.bytes);
  }
}

std::string describe_indented(const std::string& indent, const Message& m, const EntryFormatter& formatter) {
  std::string out = indent + text_of(target(m.from), "->", target(m.to), " ", name_of(m.type), " Term:", m.term,
                                     " Log:", m.log_term, "/", m.index);
  if (m.reject) out += text_of(" Rejected (Hint: ", m.reject_hint, ")");
  if (m.commit != Index{}) out += text_of(" Commit:", m.commit);
  if (m.vote != kNoNode) out += " Vote:" + decimal(m.vote);
  if (m.entries.size() == 1) {
    out += " Entries:[" + describe(m.entries.front(), formatter) + "]";
  } else if (m.entries.size() > 1) {
    out += " Entries:[";
    for (const Entry& entry : m.entries) out += "\n" + indent + "  " + describe(entry, formatter);
    out += "\n" + indent + "]";
  }
  if (m.snapshot != nullptr && !m.snapshot->empty()) out += "\n" + indent + "  Snapshot: " + describe(*m.snapshot);
  if (!m.responses.empty()) {
    out += " Responses:[";
    for (const Message& response : m.responses) out += "\n" + describe_indented(indent + "  ", response, formatter);
    out += "\n" + indent + "]";
  }
  return out;
}

}  // namespace

std::string quote(std::string_view bytes) {
  std::string out = "\"";
  while (!bytes.empty()) {
    const base::Rune rune = base::decode_rune(bytes);
    append_quoted(out, bytes, rune);
    bytes.remove_prefix(rune.bytes);
  }
  return out + "\"";
}

std::string describe(const HardState& state) {
  std::string out = text_of("Term:", state.term);
  if (state.vote != kNoNode) out += " Vote:" + decimal(state.vote);
  return out + text_of(" Commit:", state.commit);
}

std::string describe(const SoftState& state) {
  return "Lead:" + decimal(state.leader) + text_of(" State:", name_of(state.role));
}

std::string describe(const ConfState& state) {
  return "Voters:" + list_of(state.voters) + " VotersOutgoing:" + list_of(state.voters_outgoing) +
         " Learners:" + list_of(state.learners) + " LearnersNext:" + list_of(state.learners_next) +
         (state.auto_leave ? " AutoLeave:true" : " AutoLeave:false");
}

std::string describe(const Snapshot& snapshot) {
  return text_of("Index:", snapshot.index, " Term:", snapshot.term, " ConfState:", describe(snapshot.conf_state));
}

std::string describe(const Entry& entry, const EntryFormatter& formatter) {
  std::string data;
  if (entry.type == EntryType::kNormal) {
    data = formatter ? formatter(entry.payload()) : quote(entry.payload());
  } else {
    const base::Result<ConfChangeV2> change = decode_conf_change(entry);
    data = change.ok() ? changes_to_string(change->changes) : std::string(change.status().text());
  }
  if (!data.empty()) data.insert(0, " ");
  return text_of(entry.term, "/", entry.index, " ", name_of(entry.type), data);
}

std::string describe(std::span<const Entry> entries, const EntryFormatter& formatter) {
  std::string out;
  for (const Entry& entry : entries) out += describe(entry, formatter) + "\n";
  return out;
}

std::string describe(const Message& message, const EntryFormatter& formatter) {
  return describe_indented("", message, formatter);
}

std::string describe(const Ready& ready, const EntryFormatter& formatter) {
  std::string out;
  if (ready.soft_state.has_value()) out += describe(*ready.soft_state) + "\n";
  if (ready.hard_state.has_value()) out += "HardState " + describe(*ready.hard_state) + "\n";
  if (!ready.read_states.empty()) {
    std::string states;
    for (const ReadState& state : ready.read_states) {
      std::string bytes;
      for (const char byte : state.context) {
        if (!bytes.empty()) bytes += ' ';
        bytes += std::to_string(static_cast<uint8_t>(byte));
      }
      states += text_of(states.empty() ? "{" : " {", state.index, " [", bytes, "]}");
    }
    out += "ReadStates [" + states + "]\n";
  }
  if (!ready.entries.empty()) out += "Entries:\n" + describe(std::span(ready.entries), formatter);
  if (ready.snapshot != nullptr && !ready.snapshot->empty()) out += "Snapshot " + describe(*ready.snapshot) + "\n";
  if (!ready.committed.empty()) out += "CommittedEntries:\n" + describe(std::span(ready.committed), formatter);
  if (!ready.messages.empty() || !ready.messages_after_save.empty()) {
    out += "Messages:\n";
    for (const Message& m : ready.messages) out += describe(m, formatter) + "\n";
    for (const Message& m : ready.messages_after_save) out += describe(m, formatter) + "\n";
  }
  if (out.empty()) return "<empty Ready>";
  return (ready.must_sync ? "Ready MustSync=true:\n" : "Ready MustSync=false:\n") + out;
}

std::string describe(const ConfChangeV2& change) {
  std::string out = text_of("transition:", name_of(change.transition));
  for (const ConfChangeSingle& one : change.changes) {
    out += text_of(" changes:{type:", name_of(one.type), " node_id:", decimal(one.node_id), "}");
  }
  if (!change.context.empty()) out += " context:" + quote(change.context);
  return out;
}

std::string describe(const ProgressMap& progress) {
  std::string out;
  for (const auto& [id, one] : progress) out += decimal(id) + ": " + one.to_string() + "\n";
  return out;
}

std::string changes_to_string(std::span<const ConfChangeSingle> changes) {
  std::string out;
  for (const ConfChangeSingle& change : changes) {
    if (!out.empty()) out += ' ';
    switch (change.type) {
      case ConfChangeType::kAddNode:
        out += 'v';
        break;
      case ConfChangeType::kAddLearnerNode:
        out += 'l';
        break;
      case ConfChangeType::kRemoveNode:
        out += 'r';
        break;
      case ConfChangeType::kUpdateNode:
        out += 'u';
        break;
      default:
        out += "unknown";
    }
    out += decimal(change.node_id);
  }
  return out;
}

base::Result<std::vector<ConfChangeSingle>> changes_from_string(std::string_view text) {
  const auto bad = [](std::string_view what, std::string_view token) {
    return base::Status(base::Code::kInvalidArgument, std::string(what) + std::string(token));
  };
  std::vector<ConfChangeSingle> changes;
  constexpr std::string_view kSpace = " \t\r\n";
  for (size_t at = text.find_first_not_of(kSpace); at != std::string_view::npos; at = text.find_first_not_of(kSpace, at)) {
    const size_t end = std::min(text.find_first_of(kSpace, at), text.size());
    const std::string_view token = text.substr(at, end - at);
    at = end;
    if (token.size() < 2) return bad("unknown token ", token);
    ConfChangeSingle change;
    switch (token.front()) {
      case 'v':
        change.type = ConfChangeType::kAddNode;
        break;
      case 'l':
        change.type = ConfChangeType::kAddLearnerNode;
        break;
      case 'r':
        change.type = ConfChangeType::kRemoveNode;
        break;
      case 'u':
        change.type = ConfChangeType::kUpdateNode;
        break;
      default:
        return bad("unknown input: ", token);
    }
    uint64_t id = 0;
    const char* const last = token.data() + token.size();
    const auto parsed = std::from_chars(token.data() + 1, last, id);
    if (parsed.ec != std::errc() || parsed.ptr != last) return bad("unknown input: ", token);
    change.node_id = NodeId(id);
    changes.push_back(change);
  }
  return changes;
}

}  // namespace raft
