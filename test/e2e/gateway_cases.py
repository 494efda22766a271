"""What is asked of the JSON gateway and the pages beside it: one list, used to record what real etcd answers and to compare.

A case is (method, path, body, headers). Cases run in order on a fresh member, so that revisions and leases are the same on
every server. Answers are reduced to what must be equal: status, the headers a client looks at, the body with the identities
of the member replaced.
"""

import base64
import http.client
import json
import re
import urllib.parse

KEPT_HEADERS = ("content-type", "grpc-metadata-content-type", "access-control-allow-origin", "access-control-allow-methods",
                "access-control-allow-headers", "www-authenticate", "trailer", "allow", "location", "x-content-type-options")
CORS = {"access-control-allow-headers": "accept, content-type, authorization",
        "access-control-allow-methods": "POST, GET, OPTIONS, PUT, DELETE", "access-control-allow-origin": "*"}
STREAM_SECONDS = 0.5  # a stream that stays open is read so long
ANSWER_SECONDS = 10


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def key(text, **fields):
    return json.dumps({"key": b64(text), **fields})


def post(path, body="{}", headers=None):
    return ("POST", path, body, headers or {})


# Documents that are refused, or taken, by how they are written: sent as a range request.
DOCUMENTS = [
    "", " ", "\n\t ", "{}", "{} ", "[]", "null", "true", "5", '"x"', "hello", "{", "}", '{"key"', '{"key":', '{"key":"Zm9v"',
    '{"key":"Zm9v",}', '{,}', '{"key" "Zm9v"}', "{'key':1}", '{"key":"Zm9v"} trailing', '{"key":"Zm9v"}{', '[{]', '{"a":[1,]}',
    '{"a":tru}', '{"a":trux}', '{"a":falsy}', '{"a":nul}', '{"a":nil}', '{"a":-}', '{"a":01}', '{"a":1.}', '{"a":1.e}',
    '{"a":1e}',
    '{"a":1e+}', '{"a":.5}', '{"a":"\\q"}', '{"a":"\\u12g4"}', '{"a":"\x01"}', '{"key":"Zm9v\\u0000"}', '{"key":"\\u005am9v"}',
    '{"key":"\\ud800"}', '{"key":"\\ud800 \\u0041xxxx"}', '{"key":"\\udc00\\ud800"}', '{"unknown":"\\ud83d\\ude00"}',
    '{"key":5}', '{"key":true}', '{"key":{}}', '{"key":[]}', '{"key":null}', '{"key":"!!!"}', '{"key":"Zg"}', '{"key":"Zg="}',
    '{"key":"Zg=="}', '{"key":"Zg==="}', '{"key":"Zh=="}', '{"key":"Zm9\\n2"}', '{"key":"Z\\nm9v"}', '{"key":"Zm9v\\n"}',
    '{"key":"_-8"}', '{"key":"/+8="}',
    '{"key":"_-8="}', '{"key":"_+8="}', '{"key":"Zm9v","key":"Zm9v"}', '{"key":"Zm9v","rangeEnd":"AA","range_end":"AA"}',
    '{"key":"Zm9v","limit":"1"}', '{"key":"Zm9v","limit":1}', '{"key":"Zm9v","limit":1.0}', '{"key":"Zm9v","limit":10e-1}',
    '{"key":"Zm9v","limit":1.5}', '{"key":"Zm9v","limit":"1.0"}', '{"key":"Zm9v","limit":" 1"}', '{"key":"Zm9v","limit":"1 "}',
    '{"key":"Zm9v","limit":"1x"}', '{"key":"Zm9v","limit":"1,x"}', '{"key":"Zm9v","limit":""}', '{"key":"Zm9v","limit":"-0"}',
    '{"key":"Zm9v","limit":9223372036854775807}', '{"key":"Zm9v","limit":9223372036854775808}',
    '{"key":"Zm9v","limit":-9223372036854775808}',
    '{"key":"Zm9v","limit":1e18}', '{"key":"Zm9v","limit":1e19}', '{"key":"Zm9v","limit":true}', '{"key":"Zm9v","limit":{}}',
    '{"key":"Zm9v","limit":[1]}', '{"key":"Zm9v","limit":null}', '{"key":"Zm9v","serializable":1}',
    '{"key":"Zm9v","serializable":"true"}',
    '{"key":"Zm9v","serializable":true}', '{"key":"Zm9v","keysOnly":true}', '{"key":"Zm9v","keys_only":true}',
    '{"key":"Zm9v","keysonly":true}', '{"KEY":"Zm9v"}', '{"key":"Zm9v","count_only":true}',
    '{"key":"Zm9v","sort_order":"DESCEND"}',
    '{"key":"Zm9v","sort_order":2}', '{"key":"Zm9v","sort_order":2.0}', '{"key":"Zm9v","sort_order":99}',
    '{"key":"Zm9v","sort_order":-1}',
    '{"key":"Zm9v","sort_order":"descend"}', '{"key":"Zm9v","sort_order":"2"}', '{"key":"Zm9v","sort_order":2.5}',
    '{"key":"Zm9v","sort_order":true}', '{"key":"Zm9v","sort_target":"VALUE","sort_order":"ASCEND"}',
    '{"key":"Zm9v","x":{"a":[1,{"b":null}]},"y":"z"}', '{"key":"Zm9v","[x.y]":5}', '{\n "key":\n  5}',
    '{"key":"Zm9v",\n\n"limit": "q"}',
    '{"\u00e4\u00e4":1,"key":7}', '{"k\\u0065y":"Zm9v"}', '{"key":"Zm9v","revision":"1"}', '{"key":"Zm9v","revision":99}',
    "[" * 10001, '{"a":' * 9999 + "1" + "}" * 9999, '{"a":' * 10001 + "1" + "}" * 10001,
]

RANGE = "/v3/kv/range"
TXN = {
    "empty": {},
    "compare version": {"compare": [{"key": b64("foo"), "target": "VERSION", "result": "GREATER", "version": "0"}],
                        "success": [{"request_range": {"key": b64("foo")}}],
                        "failure": [{"requestPut": {"key": b64("bad"), "value": b64("bad")}}]},
    "camel case": {"compare": [{"key": b64("foo"), "target": 3, "result": 0, "value": b64("bar")}],
                   "success": [{"requestPut": {"key": b64("t1"), "value": b64("1"), "prevKv": True}},
                               {"requestDeleteRange": {"key": b64("t9")}}]},
    "nested": {"success": [{"request_txn": {"success": [
        {"request_txn": {"success": [{"request_put": {"key": b64("t2")}}]}}]}}]},
    "empty op": {"success": [{}]},
    "null in list": {"success": [None]},
    "number in list": {"success": [5]},
    "list for object": {"success": [{"request_put": []}]},
    "object for list": {"success": {"request_put": {}}},
    "two members of a oneof": {"success": [{"request_put": {"key": b64("a")}, "request_range": {"key": b64("a")}}]},
    "null beside a oneof": {"success": [{"request_put": None, "request_range": {"key": b64("foo")}}]},
    "two targets": {"compare": [{"key": b64("foo"), "version": 1, "value": ""}]},
    "no key": {"success": [{"request_put": {"value": b64("x")}}]},
    "duplicate key": {"success": [{"request_put": {"key": b64("d")}}, {"request_put": {"key": b64("d")}}]},
    "too many": {"success": [{"request_range": {"key": b64("foo")}}] * 129},
    "as many as may be": {"success": [{"request_range": {"key": b64("foo"), "count_only": True}}] * 128},
    "lease that is not there": {"success": [{"request_put": {"key": b64("l"), "lease": "77"}}]},
}


def cases():
    yield post("/v3/kv/put", key("foo", value=b64("bar")))
    yield post("/v3/kv/put", key("foo", value=b64("bar2"), prev_kv=True))
    yield post("/v3/kv/put", key("foo2", value=b64(bytes(range(256)))))
    yield post("/v3/kv/put", key("foo3", ignore_value=True))
    yield post("/v3/kv/put", key("foo", ignore_value=True, value=b64("x")))
    yield post("/v3/kv/put", key("foo", lease="12345"))
    yield post("/v3/kv/put", key("", value=b64("x")))
    yield post("/v3/kv/put", "")
    for document in DOCUMENTS:
        yield post(RANGE, document)
    yield post(RANGE, b'{"key":"\xff"}')
    yield post(RANGE, b'{"\xc3\x28":1,"key":"Zm9v"}')
    yield post(RANGE, b"\xff")
    yield post(RANGE, b"\xef\xbb\xbf{}")
    yield post(RANGE, json.dumps({"key": b64("foo"), "range_end": b64("fop")}))
    yield post(RANGE, json.dumps({"key": b64("\0"), "range_end": b64("\0"), "limit": 1}))
    yield post(RANGE, json.dumps({"key": b64("foo"), "min_mod_revision": "3", "range_end": b64("g")}))
    for name, txn in TXN.items():
        yield post("/v3/kv/txn?" + urllib.parse.quote(name), json.dumps(txn))
    yield post("/v3/kv/deleterange", key("foo2", prev_kv=True))
    yield post("/v3/kv/deleterange", key("foo2", prevKv=True))
    yield post("/v3/kv/deleterange")
    yield post("/v3/kv/put", key("foo", value=b64("bar3")))
    yield post("/v3/kv/compaction", '{"revision":"3","physical":true}')
    yield post("/v3/kv/compaction", '{"revision":"3"}')
    yield post("/v3/kv/compaction", '{"revision":"99"}')
    yield post("/v3/kv/compaction", '{"revision":"x"}')
    yield post(RANGE, key("foo", revision=2))
    # Ways to the routes.
    for prefix in ("/v3beta", "/v3"):
        yield post(prefix + "/kv/range", key("foo"))
    for path in ("/v3", "/v3/", "/v3/nothing", "/v3/kv", "/v3/kv/", "/v3/kv/range/", "/v3/kv/range:x", "/v3//kv/range",
                 "/v3/kv/../kv/range",
                 "/v3/./kv/range", "/v3/kv%2Frange", "/v3/kv/ran%67e", "/v3/KV/range", "/v3/kv/rangestream",
                 "/v3//kv/range?a=b%20c",
                 "/v2/keys", "/v3gamma/kv/range", "/v3/kv/range%zz"):
        yield post(path, key("foo"))
        yield ("GET", path, None, {})
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        yield (method, RANGE, None, {})
    yield post(RANGE + "?key=Zm9v", "{}")
    # Headers.
    for headers in ({"Grpc-Timeout": "5S"}, {"Grpc-Timeout": "1x"}, {"Grpc-Timeout": "S"}, {"Grpc-Timeout": "5"},
                    {"Grpc-Timeout": "xS"},
                    {"Grpc-Timeout": "0S"}, {"Grpc-Timeout": "-1S"}, {"Grpc-Timeout": "1n"},
                    {"Grpc-Metadata-hasleader": "true"},
                    {"Grpc-Metadata-X-Bin": "AAEC"}, {"Grpc-Metadata-X-Bin": "A"}, {"Grpc-Metadata-X-Bin": "!!!!"},
                    {"Authorization": "token"}, {"Authorization": "Bearer token"}, {"Content-Type": "text/plain"},
                    {"Content-Type": "application/x-www-form-urlencoded"}, {"Accept": "text/html"}, {"Accept": "*/*"},
                    {"TE": "trailers"},
                    {"Origin": "http://example.com"}, {"X-Forwarded-For": "10.0.0.1"}):
        yield post(RANGE, key("foo"), headers)
        yield post(RANGE, "{}", headers)
    yield post("/v3/kv/nothing", "{}", {"TE": "trailers"})
    # Sizes.
    yield post("/v3/kv/put", key("big", value=b64("x" * 1500000)))
    yield post(RANGE, key("big"))
    yield post("/v3/kv/put", key("big", value=b64("x" * 1600000)))
    yield post("/v3/kv/put", key("big", value=b64("x" * 3000000)))
    yield post("/v3/kv/deleterange", key("big"))
    # The other services.
    yield post("/v3/cluster/member/list")
    yield post("/v3/cluster/member/list", '{"linearizable":true}')
    yield post("/v3/maintenance/alarm", '{"action":"GET"}')
    yield post("/v3/maintenance/alarm", '{"action":"ACTIVATE","alarm":"NOSPACE"}')
    yield ("GET", "/health", None, {})
    yield ("GET", "/health?exclude=NOSPACE", None, {})
    yield post("/v3/kv/put", key("full", value=b64("x")))
    yield post("/v3/maintenance/alarm", '{"action":"GET"}')
    yield post("/v3/maintenance/alarm", '{"action":"DEACTIVATE","alarm":1}')
    yield post("/v3/maintenance/alarm", '{"action":"GET","memberID":"x"}')
    yield post("/v3/maintenance/hashkv", "{}")
    yield post("/v3/maintenance/hashkv", '{"revision":"2"}')
    yield post("/v3/maintenance/hashkv", '{"revision":"999"}')
    yield post("/v3/maintenance/hash", "[]")
    yield post("/v3/maintenance/snapshot", "[]")
    yield post("/v3/election/observe", "{")
    # Streams.
    yield post("/v3/watch", "")
    yield post("/v3/watch", json.dumps({"create_request": {"key": b64("w"), "start_revision": "1"}}))
    yield post("/v3/watch",
               json.dumps({"create_request": {"key": b64("foo"), "start_revision": "4", "watch_id": "7", "prevKv": True}}))
    yield post("/v3/watch", json.dumps({"createRequest": {"key": b64("foo"), "filters": ["NOPUT", 1], "progressNotify": True}}))
    yield post("/v3/watch", json.dumps({"create_request": {"key": b64("foo"), "start_revision": "-5"}}))
    yield post("/v3/watch", json.dumps({"cancel_request": {"watch_id": 5}}))
    yield post("/v3/watch", json.dumps({"progress_request": {}}))
    yield post("/v3/watch", '{"create_request":{"key":"AA=="},"cancel_request":{}}')
    yield post("/v3/watch",
               json.dumps({"create_request": {"key": b64("a")}}) + json.dumps({"create_request": {"key": b64("b")}}) + "{")
    yield post("/v3/watch", "[]")
    # Pages.
    for path in ("/health?serializable=true", "/health?exclude=X&exclude=NOSPACE", "/livez?verbose",
                 "/livez/serializable_read", "/livez/",
                 "/livez/nothing", "/livez?exclude=serializable_read", "/readyz?exclude=nothing",
                 "/readyz/linearizable_read?verbose",
                 "/readyz/data_corruption", "/readyz/serializable_read", "/readyz/non_learner", "/health/", "//health",
                 "/%68ealth",
                 "/health%zz", "/", "/nothing", "/debug/", "/debug/pprof", "/debug/requests", "/v3alpha", "/x/../health"):
        yield ("GET", path, None, {})
    for method in ("HEAD", "POST", "OPTIONS"):
        for path in ("/health", "/livez", "/readyz", "/version", "/nothing"):
            yield (method, path, None, {})


# Served by parts that come later here: compared when both servers know them.
LATER = [post("/v3/lease/keepalive", ""), post("/v3/lease/keepalive", '{"ID":7}{"ID":8}'),
         post("/v3/lease/keepalive", '{"ID":7} x'),
         post("/v3/lease/keepalive", "[]"), post("/v3/lease/grant", '{"TTL":"100","ID":"1234"}'),
         post("/v3/lease/grant", '{"TTL":100,"ID":1234}'),
         post("/v3/lease/timetolive", '{"ID":"1234","keys":true}'), post("/v3/kv/lease/timetolive", '{"ID":"99"}'),
         post("/v3/lease/leases"), post("/v3/kv/lease/leases"), post("/v3/lease/keepalive", '{"ID":"1234"}'),
         post("/v3/lease/revoke", '{"ID":"1234"}'), post("/v3/kv/lease/revoke", '{"ID":"1234"}'),
         post("/v3/maintenance/defragment")]

IDENTITIES = re.compile(r'"(cluster_id|member_id|memberID|ID|leader)":"(\d{12,})"')
VOLATILE = re.compile(r'"(raft_term|raftTerm|hash)":("?)\d+("?)')
URLS = re.compile(r"http://127\.0\.0\.1:\d+")


def reduce(status, headers, body):
    """What of an answer is the same for every member."""
    text = body.decode("utf-8", "backslashreplace")
    text = IDENTITIES.sub(r'"\1":"N"', text)
    text = VOLATILE.sub(r'"\1":\2N\3', text)
    text = URLS.sub("URL", text)
    if len(text) > 4000:
        text = f"{text[:300]}...{text[-100:]} ({len(text)} characters)"
    kept = {name.lower(): value for name, value in headers if name.lower() in KEPT_HEADERS}
    reduced = {"status": status, "headers": dict(sorted(kept.items())), "body": text}
    if CORS.items() <= kept.items():
        reduced["headers"] = {name: value for name, value in reduced["headers"].items() if name not in CORS}
        reduced["cors"] = True
    return reduced


def ask(url, case):
    """Sends one request on a connection of its own; what comes of an open stream within STREAM_SECONDS counts."""
    method, path, body, headers = case
    address = url.split("//")[1]
    silent = path == "/v3/watch" and ("create" not in body or "cancel" in body)  # nothing will ever be answered
    connection = http.client.HTTPConnection(address, timeout=STREAM_SECONDS if silent else ANSWER_SECONDS)
    try:
        data = body.encode() if isinstance(body, str) else body
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if data is not None:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        answer = connection.getresponse()
        connection.sock and connection.sock.settimeout(STREAM_SECONDS)
        received = b""
        try:
            while True:
                piece = answer.read1(65536)
                if not piece:
                    break
                received += piece
        except (TimeoutError, ConnectionResetError):  # etcd resets who has sent more than it read
            pass
        return reduce(answer.status, answer.getheaders(), received)
    except TimeoutError:
        return {"status": 0, "headers": {}, "body": "no answer"}
    finally:
        connection.close()


def name(case):
    method, path, body, headers = case
    text = body if isinstance(body, str) else repr(body)
    if text and len(text) > 120:
        text = f"{text[:100]}... ({len(text)})"
    return f"{method} {path} {text or ''} {headers or ''}".rstrip()
