#include "rpc/http_exchange.h"

#include "rpc/connection.h"

namespace rpc {

bool may_have_body(int status) { return status >= 200 && status != 204 && status != 304; }

void hand_over(NetLoop& loop, std::shared_ptr<ServerCore> core, const std::shared_ptr<HttpExchange>& exchange) {
  std::shared_ptr<HttpCall> call(exchange.get(), [exchange](HttpCall*) { exchange->handler_gone(); });
  loop.on_home([core = std::move(core), call = std::move(call)]() mutable { core->http_handler(std::move(call)); });
}

}  // namespace rpc
