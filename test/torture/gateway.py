"""The JSON gateway as a client: keys and values as text, revisions as numbers. One connection, kept while it lives."""

import base64
import http.client
import json


class Refused(Exception):
    """The server's own answer that it did not do it, and never will."""


class Unknown(Exception):
    """No answer, or one that leaves open whether it was done."""


# What cannot have happened: the request never got into the log.
NEVER_PROPOSED = ("etcdserver: too many requests", "etcdserver: request is too large")


def encode(text):
    return base64.b64encode(text.encode()).decode()


def decode(data):
    return base64.b64decode(data or "").decode()


class Gateway:
    def __init__(self, host, port, timeout):
        self.connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def close(self):
        self.connection.close()

    def call(self, path, message):
        try:
            self.connection.request("POST", "/v3/" + path, json.dumps(message))
            response = self.connection.getresponse()
            body = response.read()
        except ConnectionRefusedError as error:
            self.close()
            raise Refused(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unknown(repr(error)) from error
        answer = json.loads(body) if body else {}
        if response.status != 200:
            text = answer.get("message", "")
            raise (Refused if text in NEVER_PROPOSED else Unknown)(text)
        return answer

    def stream(self, path, message):
        """Yields each message of an answer that goes on; ends with Unknown."""
        try:
            self.connection.request("POST", "/v3/" + path, json.dumps(message))
            response = self.connection.getresponse()
            while line := response.readline():
                if line.strip():
                    yield json.loads(line)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unknown(repr(error)) from error
        finally:
            self.close()
        raise Unknown("end of the stream")


def revision_of(answer):
    return int(answer["header"].get("revision", 0))
