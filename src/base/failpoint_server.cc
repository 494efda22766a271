// GOFAIL_HTTP: one thread, one request a connection, one connection at a time, so that it answers while everything else sleeps.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/failpoint.h"

namespace base::failpoint {

namespace {

constexpr size_t kRequestBytesMax = 64 * 1024;
constexpr timeval kPatience{5, 0};  // for a client that does not go on

int listen_on(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return -1;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string host = address.substr(0, colon), port = address.substr(colon + 1);
  if (::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found) != 0) return -1;
  const int listener = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const bool good = ::bind(listener, found->ai_addr, found->ai_addrlen) == 0 && ::listen(listener, 64) == 0;
  ::freeaddrinfo(found);
  return good ? listener : -1;
}

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 500:
      return "Internal Server Error";
    default:
      return "Bad Request";
  }
}

std::string as_http(const Registry::Answer& answer) {
  std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(reason(answer.status)) + "\r\n";
  if (answer.allow) text += "Allow: PUT\r\n";
  if (answer.status >= 400) text += "X-Content-Type-Options: nosniff\r\n";
  text += "Connection: close\r\n";
  if (answer.status != 204) {
    text += "Content-Type: text/plain; charset=utf-8\r\nContent-Length: " + std::to_string(answer.body.size()) + "\r\n";
  }
  return text + "\r\n" + answer.body;
}

size_t content_length(std::string_view head) {
  constexpr std::string_view kName = "\r\ncontent-length:";
  std::string lower(head);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  size_t at = lower.find(kName);
  size_t length = 0;
  if (at == std::string::npos) return 0;
  at = lower.find_first_not_of(' ', at + kName.size());
  if (at != std::string::npos) std::from_chars(lower.data() + at, lower.data() + lower.size(), length);
  return length;
}

// All of one request, or what came of it.
std::string receive(int connection, size_t* head_bytes) {
  std::string request;
  char piece[4096];
  size_t needed = kRequestBytesMax;
  while (request.size() < needed) {
    const ssize_t count = ::recv(connection, piece, sizeof piece, 0);
    if (count <= 0) break;
    request.append(piece, static_cast<size_t>(count));
    if (*head_bytes > 0) continue;
    const size_t end = request.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    *head_bytes = end + 4;
    needed = std::min(kRequestBytesMax, *head_bytes + content_length(std::string_view(request).substr(0, end)));
  }
  return request;
}

void serve(int connection) {
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  size_t head_bytes = 0;
  const std::string request = receive(connection, &head_bytes);
  const std::string_view line = std::string_view(request).substr(0, request.find("\r\n"));
  const size_t first = line.find(' '), second = line.find(' ', first + 1);
  if (head_bytes == 0 || second == std::string_view::npos) return;
  const std::string_view method = line.substr(0, first), target = line.substr(first + 1, second - first - 1);
  const auto held = registry().hold_panics();
  std::string answer = as_http(registry().answer(method, target, std::string_view(request).substr(head_bytes)));
  if (method == "HEAD") answer.resize(answer.find("\r\n\r\n") + 4);
  for (std::string_view left = answer; !left.empty();) {
    const ssize_t sent = ::send(connection, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    left.remove_prefix(static_cast<size_t>(sent));
  }
  ::shutdown(connection, SHUT_WR);
}

}  // namespace

void serve_if_asked() {
  const char* address = std::getenv("GOFAIL_HTTP");
  if (address == nullptr || *address == '\0') return;
  const int listener = listen_on(address);
  if (listener < 0) {
    std::printf("listen tcp %s: cannot be had\n", address);
    std::fflush(stdout);
    std::_Exit(1);
  }
  std::thread([listener] {
    for (;;) {
      const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      serve(connection);
      ::close(connection);
    }
  }).detach();
}

}  // namespace base::failpoint
