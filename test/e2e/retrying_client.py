"""A client of a whole cluster over the JSON gateway: asks one member, and when that does not answer well the next, until one
does. Standard library only; one thread at a time."""

import http.client
import json
import time

import harness

PAUSE_SECONDS = 0.01  # after a failure; a port that refuses does so at once


class RetryingClient:
    """`endpoints()` gives the members' client URLs; `first` which of them is asked first."""

    def __init__(self, endpoints, first=0, try_seconds=8, request_seconds=30, credentials=None):
        self.endpoints, self.turn, self.credentials = endpoints, first, credentials
        self.try_seconds, self.request_seconds = try_seconds, request_seconds
        self.tries = self.failed = 0
        self.longest = 0.0  # seconds a request took that was answered
        self.connection = None

    def ask(self, path, body):
        """The answer as an object; None: none in `request_seconds`. A request may have been done more than once by then."""
        began = time.monotonic()
        while time.monotonic() - began < self.request_seconds:
            self.tries += 1
            try:
                if self.connection is None:
                    urls = self.endpoints()
                    url = urls[self.turn % len(urls)]
                    self.connection = harness.http_connection(url, self.try_seconds, self.credentials)
                self.connection.request("POST", path, json.dumps(body))
                response = self.connection.getresponse()
                answer = json.loads(response.read())
                if response.status == 200:
                    self.longest = max(self.longest, time.monotonic() - began)
                    return answer
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(PAUSE_SECONDS)
            self.close()
            self.turn += 1
        self.failed += 1
        return None

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None
