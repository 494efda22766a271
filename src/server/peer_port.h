// The part of the peer port that other members use: /raft, /raft/stream/..., /raft/snapshot, /raft/probing. Hands requests to
// the transport and its answers back. Everything else on the port is server/pages.h. Owner: core loop. Wire-and-disk 3.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "peer/http_transport.h"
#include "rpc/server.h"

namespace server {

class SnapshotReceiver;

class PeerPort {
 public:
  // All outlive it. `receiver` null: databases are refused.
  PeerPort(asio::io_context& loop, const base::Clock& clock, peer::HttpTransport& transport, SnapshotReceiver* receiver)
      : loop_(loop), clock_(clock), transport_(transport), receiver_(receiver) {}

  // False: not one of ours.
  bool serve(const std::shared_ptr<rpc::HttpCall>& call);
  // Whether the body of such a request is handed over as it comes (rpc::ServerOptions::streams_body).
  static bool streams_body(std::string_view method, std::string_view target);

 private:
  void serve_stream(std::shared_ptr<rpc::HttpCall> call, const peer::Request& request);
  void serve_message(rpc::HttpCall& call, const peer::Request& request);
  void serve_snapshot(std::shared_ptr<rpc::HttpCall> call, const peer::Request& request);
  void serve_probe(rpc::HttpCall& call);
  void refuse(rpc::HttpCall& call, const peer::Refusal& refusal, bool stream = false);
  rpc::Metadata headers() const;
  rpc::Metadata stream_headers() const;

  asio::io_context& loop_;
  const base::Clock& clock_;
  peer::HttpTransport& transport_;
  SnapshotReceiver* const receiver_;
};

}  // namespace server
