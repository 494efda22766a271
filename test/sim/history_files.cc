#include "sim/history_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace sim {
namespace {

using wire::Op;

constexpr size_t kHashedFrom = 20;  // values as long as this are told by their hash
constexpr uint64_t kPieceBytes = 1 << 20;

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string value_of(std::string_view value) {
  if (value.size() < kHashedFrom) return "{\"Value\":" + json_text(value) + "}";
  uint32_t hash = 0x811c9dc5;  // FNV-1a
  for (const char c : value) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193;
  return "{\"Hash\":" + std::to_string(hash) + "}";
}

std::string version_of(const mvccpb::KeyValue& kv) {
  return "\"Value\":" + value_of(kv.value()) + ",\"ModRevision\":" + std::to_string(kv.mod_revision()) +
         ",\"Version\":" + std::to_string(kv.version());
}

std::string pairs_of(const etcdserverpb::RangeResponse& response) {
  std::string out = "\"KVs\":[";
  for (const mvccpb::KeyValue& kv : response.kvs()) {
    out += (out.back() == '[' ? "{" : ",{") + ("\"Key\":" + json_text(kv.key())) + "," + version_of(kv) + "}";
  }
  return out + "],\"Count\":" + std::to_string(response.count());
}

std::string range_of(const etcdserverpb::RangeRequest& request) {
  return "\"Start\":" + json_text(request.key()) + ",\"End\":" + json_text(request.range_end()) +
         ",\"Limit\":" + std::to_string(request.limit());
}

std::string put_of(const etcdserverpb::PutRequest& request) {
  return "{\"Type\":\"put-operation\",\"Put\":{\"Key\":" + json_text(request.key()) +
         ",\"Value\":" + value_of(request.value()) + ",\"LeaseID\":" + std::to_string(request.lease()) + "}}";
}

std::string delete_of(const etcdserverpb::DeleteRangeRequest& request) {
  return "{\"Type\":\"delete-operation\",\"Delete\":{\"Key\":" + json_text(request.key()) + "}}";
}

template <class Steps>
std::string steps_of(const Steps& steps) {
  std::string out = "[";
  for (const etcdserverpb::RequestOp& step : steps) {
    if (out.back() != '[') out += ",";
    if (step.has_request_put()) out += put_of(step.request_put());
    if (step.has_request_delete_range()) out += delete_of(step.request_delete_range());
    if (step.has_request_range()) out += "{\"Type\":\"range-operation\",\"Range\":{" + range_of(step.request_range()) + "}}";
  }
  return out + "]";
}

std::string txn_of(const std::string& conditions, const std::string& success, const std::string& failure) {
  return "{\"Type\":\"txn\",\"Txn\":{\"Conditions\":" + conditions + ",\"OperationsOnSuccess\":" + success +
         ",\"OperationsOnFailure\":" + failure + "}}";
}

template <class Message>
Message parsed(const std::string& bytes) {
  Message message;
  VERIFY(message.ParseFromString(bytes));
  return message;
}

// Input and, if it went well, the part of the output that is about it.
std::pair<std::string, std::string> told(const Operation& operation) {
  switch (operation.op) {
    case Op::kPut:
      return {txn_of("[]", "[" + put_of(parsed<etcdserverpb::PutRequest>(operation.request)) + "]", "[]"),
              "\"Txn\":{\"Failure\":false,\"Results\":[{}]}"};
    case Op::kDeleteRange: {
      const auto response = parsed<etcdserverpb::DeleteRangeResponse>(operation.response);
      return {txn_of("[]", "[" + delete_of(parsed<etcdserverpb::DeleteRangeRequest>(operation.request)) + "]", "[]"),
              "\"Txn\":{\"Failure\":false,\"Results\":[{\"Deleted\":" + std::to_string(response.deleted()) + "}]}"};
    }
    case Op::kRange: {
      const auto request = parsed<etcdserverpb::RangeRequest>(operation.request);
      return {
          "{\"Type\":\"range\",\"Range\":{" + range_of(request) + ",\"Revision\":" + std::to_string(request.revision()) + "}}",
          "\"Range\":{" + pairs_of(parsed<etcdserverpb::RangeResponse>(operation.response)) + "}"};
    }
    default:
      break;
  }
  const auto request = parsed<etcdserverpb::TxnRequest>(operation.request);
  std::string conditions = "[";
  for (const etcdserverpb::Compare& compare : request.compare()) {
    VERIFY(compare.target() == etcdserverpb::Compare::MOD && compare.result() == etcdserverpb::Compare::EQUAL);
    conditions += (conditions.back() == '[' ? "{\"Key\":" : ",{\"Key\":") + json_text(compare.key()) +
                  ",\"ExpectedRevision\":" + std::to_string(compare.mod_revision()) + "}";
  }
  const auto response = parsed<etcdserverpb::TxnResponse>(operation.response);
  std::string results = "[";
  for (const etcdserverpb::ResponseOp& step : response.responses()) {
    if (results.back() != '[') results += ",";
    if (step.has_response_range()) {
      results += "{" + pairs_of(step.response_range()) + "}";
    } else if (step.has_response_delete_range()) {
      results += "{\"Deleted\":" + std::to_string(step.response_delete_range().deleted()) + "}";
    } else {
      results += "{}";
    }
  }
  return {txn_of(conditions + "]", steps_of(request.success()), steps_of(request.failure())),
          std::string("\"Txn\":{\"Failure\":") + (response.succeeded() ? "false" : "true") + ",\"Results\":" + results + "]}"};
}

int64_t ns(base::Instant when) { return when.time_since_epoch().count(); }

// Nobody knows when a write that failed happens, if it does: its client goes on under another number.
void write_operations(const std::string& dir, const std::vector<Operation>& operations) {
  std::map<int, std::ofstream> files;
  std::map<int, int> stream;
  std::map<int, int64_t> free_from;  // a client's calls must not touch each other
  int next_stream = 0;
  for (const Operation& operation : operations) {
    // Of what was refused for certain the validator would think that it may still happen; that it has not is checked here.
    if (operation.outcome == Operation::kRefused) continue;
    const auto [known, fresh] = stream.try_emplace(operation.client, 0);
    if (fresh) {
      known->second = ++next_stream;
      const std::string folder = dir + "/client-" + std::to_string(operation.client);
      std::filesystem::create_directories(folder);
      files[operation.client].open(folder + "/operations.json");
    }
    const auto [input, output] = told(operation);
    const int64_t call = std::max(ns(operation.call), free_from[operation.client]);
    free_from[operation.client] = ns(operation.end) + 1;
    files[operation.client] << "{\"ClientID\":" << known->second << ",\"Input\":" << input << ",\"Call\":" << call
                            << ",\"Output\":{";
    if (operation.outcome == Operation::kOk) {
      files[operation.client] << output << ",\"Revision\":" << operation.revision;
    } else {
      files[operation.client] << "\"Error\":" << json_text(operation.error);
      if (operation.op != Op::kRange) known->second = ++next_stream;
    }
    files[operation.client] << "},\"Return\":" << ns(operation.end) << "}\n";
  }
}

std::string event_of(const mvccpb::Event& event) {
  const mvccpb::KeyValue& kv = event.kv();
  const bool is_delete = event.type() == mvccpb::Event::DELETE;
  std::string out = std::string("{\"Type\":\"") + (is_delete ? "delete-operation" : "put-operation") +
                    "\",\"Key\":" + json_text(kv.key()) + ",\"Revision\":" + std::to_string(kv.mod_revision());
  if (!is_delete) out += ",\"Value\":" + value_of(kv.value());
  if (!is_delete && kv.create_revision() == kv.mod_revision()) out += ",\"IsCreate\":true";
  if (event.has_prev_kv()) out += ",\"PrevValue\":{" + version_of(event.prev_kv()) + "}";
  return out + "}";
}

void write_watches(const std::string& dir, const std::vector<std::unique_ptr<WatchRecord>>& watches) {
  const std::string folder = dir + "/client-1000";
  std::filesystem::create_directories(folder);
  std::ofstream file(folder + "/watch.json");
  for (const auto& watch : watches) {
    if (watch->created_at == 0) continue;
    file << "{\"Request\":{\"Key\":" << json_text(watch->request.key()) << ",\"Revision\":" << watch->request.start_revision()
         << ",\"WithPrefix\":true,\"WithProgressNotify\":true,\"WithPrevKV\":" << (watch->request.prev_kv() ? "true" : "false")
         << "},\"Responses\":[";
    bool first = true;
    for (const WatchRecord::Response& response : watch->responses) {
      file << (std::exchange(first, false) ? "" : ",") << "{\"Events\":[";
      for (size_t i = 0; i < response.events.size(); ++i) file << (i > 0 ? "," : "") << event_of(response.events[i]);
      file << "],\"IsProgressNotify\":" << (response.events.empty() && !response.canceled ? "true" : "false")
           << ",\"Revision\":" << response.revision << ",\"Time\":" << ns(response.at)
           << ",\"Error\":" << (response.canceled ? "\"canceled\"" : "\"\"") << "}";
    }
    file << "]}\n";
  }
}

std::string copy_file(io::MemDisk& disk, const std::string& from, const std::string& to) {
  base::Result<std::unique_ptr<io::File>> file = disk.open(from, io::OpenMode::kRead);
  if (!file.ok()) return file.status().to_string();
  std::ofstream out(to, std::ios::binary);
  std::string piece(kPieceBytes, '\0');
  for (uint64_t at = 0;; at += kPieceBytes) {
    base::Result<size_t> got = (*file)->read_at(at, piece.data(), piece.size());
    if (!got.ok()) return got.status().to_string();
    if (*got == 0) break;
    // What is only reserved stays a hole.
    const std::string_view bytes(piece.data(), *got);
    if (bytes.find_first_not_of('\0') == std::string_view::npos) continue;
    out.seekp(static_cast<std::streamoff>(at));
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  out.close();
  std::filesystem::resize_file(to, disk.stat(from)->size_bytes);
  return {};
}

}  // namespace

std::string write_history(const std::string& dir, Cluster& cluster, const History& history) {
  std::filesystem::create_directories(dir);
  write_operations(dir, history.operations);
  write_watches(dir, history.watches);
  for (Machine* machine : cluster.members()) {
    const std::string from = io::join(machine->config().data_dir, "member/wal");
    const std::string to = dir + "/server-" + machine->config().name + "/member/wal";
    std::filesystem::create_directories(to);
    base::Result<std::vector<std::string>> names = machine->disk().list(from);
    if (!names.ok()) return names.status().to_string();
    for (const std::string& name : *names) {
      if (!name.ends_with(".wal")) continue;
      if (std::string wrong = copy_file(machine->disk(), io::join(from, name), to + "/" + name); !wrong.empty()) return wrong;
    }
  }
  return {};
}

}  // namespace sim
