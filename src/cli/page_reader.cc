#include "cli/page_reader.h"

#include <asio/ssl/context.hpp>
#include <memory>
#include <optional>

#include "base/flags.h"
#include "net/spawn.h"
#include "net/stream.h"
#include "net/tls.h"

namespace cli {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr size_t kChunkBytes = 64 << 10;
constexpr uint16_t kHttpPort = 80, kHttpsPort = 443;

struct Address {
  bool tls = false;
  std::string host;
  uint16_t port = 0;
};

Result<Address> parse_address(std::string_view endpoint) {
  Address address;
  address.tls = endpoint.starts_with("https://");
  if (const size_t scheme = endpoint.find("://"); scheme != std::string_view::npos) endpoint.remove_prefix(scheme + 3);
  endpoint = endpoint.substr(0, endpoint.find('/'));
  const size_t colon = endpoint.rfind(':');
  const bool has_port = colon != std::string_view::npos && endpoint.find(']', colon) == std::string_view::npos;
  std::string_view host = endpoint.substr(0, has_port ? colon : endpoint.size());
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  address.host = host.empty() ? "127.0.0.1" : host;
  address.port = address.tls ? kHttpsPort : kHttpPort;
  if (has_port) {
    const Result<uint64_t> port = base::flags::parse_uint(endpoint.substr(colon + 1));
    if (!port.ok() || *port > UINT16_MAX) return Status(Code::kInvalidArgument, "invalid port in " + std::string(endpoint));
    address.port = static_cast<uint16_t>(*port);
  }
  return address;
}

struct Answer {
  std::optional<Result<std::string>> page;
};

// HTTP/1.0: the answer ends with the connection and comes in one piece.
asio::awaitable<Result<std::string>> exchange(std::unique_ptr<net::Stream> stream, std::string request) {
  Status status = co_await stream->handshake();
  if (status.ok()) status = co_await stream->write_all(request);
  std::string page, chunk(kChunkBytes, '\0');
  while (status.ok()) {
    const Result<size_t> got = co_await stream->read_some(chunk.data(), chunk.size());
    if (!got.ok()) {
      if (got.status().code() == Code::kOutOfRange) break;  // the end
      co_return got.status();
    }
    page.append(chunk, 0, *got);
    if (page.size() > kPageBytesMax) status = Status(Code::kResourceExhausted, "the page is too large");
  }
  if (!status.ok()) co_return status;
  const size_t body = page.find("\r\n\r\n");
  if (!page.starts_with("HTTP/1.") || body == std::string::npos) {
    co_return Status(Code::kInternal, "malformed HTTP response");
  }
  co_return page.substr(body + 4);
}

asio::awaitable<void> fetch(asio::io_context& loop, Address address, std::string path,
                            std::shared_ptr<asio::ssl::context> context, base::Instant deadline,
                            std::shared_ptr<Answer> answer) {
  Result<std::unique_ptr<net::Stream>> connected = co_await net::connect_tcp(loop, address.host, address.port, deadline);
  if (!connected.ok()) {
    answer->page = connected.status();
    co_return;
  }
  std::unique_ptr<net::Stream> stream = std::move(*connected);
  if (context != nullptr) stream = net::make_tls_client(std::move(stream), *context, address.host);
  const std::string host = address.host + ":" + std::to_string(address.port);
  const std::string request = "GET " + path + " HTTP/1.0\r\nHost: " + host + "\r\n\r\n";
  answer->page = co_await exchange(std::move(stream), request);
}

}  // namespace

Result<std::string> read_page(asio::io_context& loop, const base::Clock& clock, const std::string& endpoint,
                              const std::string& path, const TlsFiles& tls, base::Duration timeout) {
  Result<Address> address = parse_address(endpoint);
  if (!address.ok()) return address.status();
  std::shared_ptr<asio::ssl::context> context;
  if (address->tls) {
    Result<std::shared_ptr<asio::ssl::context>> made = make_tls_context(tls, "https://" + address->host);
    if (!made.ok()) return made.status();
    context = std::move(*made);
  }
  const auto answer = std::make_shared<Answer>();
  const base::Instant deadline = clock.now() + timeout;
  net::spawn(loop.get_executor(), "page", fetch(loop, std::move(*address), path, std::move(context), deadline, answer));
  while (!answer->page && clock.now() < deadline) {
    if (loop.stopped()) loop.restart();
    loop.run_one_until(deadline);
  }
  return answer->page ? *answer->page : Status(Code::kDeadlineExceeded, "context deadline exceeded");
}

}  // namespace cli
