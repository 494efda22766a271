#include "server/conf_state_json.h"

#include <nlohmann/json.hpp>

namespace server {

using base::NodeId;

std::string conf_state_json(const raft::ConfState& state) {
  const auto list = [](const std::vector<NodeId>& ids) {
    std::string out = "[";
    for (size_t i = 0; i < ids.size(); ++i) out += (i > 0 ? "," : "") + std::to_string(ids[i].value());
    return out + "]";
  };
  std::string json = "{\"voters\":" + list(state.voters);
  if (!state.voters_outgoing.empty()) json += ",\"voters_outgoing\":" + list(state.voters_outgoing);
  if (!state.learners.empty()) json += ",\"learners\":" + list(state.learners);
  if (!state.learners_next.empty()) json += ",\"learners_next\":" + list(state.learners_next);
  return json + ",\"auto_leave\":" + (state.auto_leave ? "true}" : "false}");
}

base::Result<raft::ConfState> parse_conf_state(std::string_view json) {
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, false);
  raft::ConfState state;
  bool good = object.is_object();
  const auto read_ids = [&](const char* key, std::vector<NodeId>* ids) {
    const auto found = good ? object.find(key) : object.end();
    if (!good || found == object.end()) return;
    good = found->is_array();
    for (const auto& item : *found) {
      good = good && item.is_number_unsigned();
      if (good) ids->push_back(NodeId(item.get<uint64_t>()));
    }
  };
  read_ids("voters", &state.voters);
  read_ids("learners", &state.learners);
  read_ids("voters_outgoing", &state.voters_outgoing);
  read_ids("learners_next", &state.learners_next);
  if (good && object.contains("auto_leave")) state.auto_leave = object["auto_leave"] == true;
  if (!good)
    return base::Status(base::Code::kDataLoss,
                        "the store's meta row confState is damaged: " + std::string(json.substr(0, 200)));
  return state;
}

}  // namespace server
