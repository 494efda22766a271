#include "server/health.h"

#include "base/log.h"

namespace server {

void Health::start_serving() {
  base::log::info("grpc service status changed", {{"service", ""}, {"status", "SERVING"}});
  set(true);
}

void Health::stop_serving(std::string_view reason) {
  base::log::warn("grpc service status changed", {{"service", ""}, {"status", "NOT_SERVING"}, {"reason", reason}});
  set(false);
}

void Health::set(bool serving) {
  if (serving_ == serving) return;
  serving_ = serving;
  for (const auto& [id, changed] : listeners_) changed();
}

uint64_t Health::subscribe(std::function<void()> changed) {
  listeners_.emplace(++last_id_, std::move(changed));
  return last_id_;
}

}  // namespace server
