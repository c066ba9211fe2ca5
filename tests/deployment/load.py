"""A provider: it posts numbered messages until each is accepted, and it takes the replies."""

import collections
import http.client
import http.server
import socketserver
import sys
import threading
import time
import urllib.parse


class Sink(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Takes what the gateway sends, and counts each text."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, delay=0.0):
        self.delay = delay
        self.texts = collections.Counter()
        self.lock = threading.Lock()
        super().__init__((address, 0), _Take)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A killed dispatcher breaks its connections; that is what is tested. Anything else is told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def take(self, text):
        with self.lock:
            self.texts[text] += 1

    def count(self):
        """How many different texts have come."""
        with self.lock:
            return len(self.texts)

    def doubled(self):
        """How many came more often than once."""
        with self.lock:
            return sum(self.texts.values()) - len(self.texts)


class _Take(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.delay:
            time.sleep(self.server.delay)
        self.server.take(urllib.parse.parse_qs(body.decode())["text"][0])
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def log_message(self, *_):
        """Nothing: what counts is counted."""


class Provider:
    """Posts `echo 1` to `echo TOTAL`, `rate` a second from `threads` connections, each again until the answer is 200."""

    def __init__(self, port, total, rate, threads=16):
        self.port, self.total, self.rate = port, total, rate
        self.accepted = set()
        self.refusals = collections.Counter()  # by status, or the kind of error
        self.wrong = []  # what must not be answered at all
        self.slowest_answer = 0.0  # of one request
        self.slowest_accept = 0.0  # from the first request for a message to its 200
        self._limit = total
        self._next = 0
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._post_all, daemon=True) for _ in range(threads)]

    def start(self, held_back=0):
        """Starts; the last `held_back` numbers wait for `release`."""
        self._limit = self.total - held_back
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def release(self):
        with self._changed:
            self._limit = self.total
            self._changed.notify_all()

    def finish(self, deadline):
        """Waits until every number is accepted; returns the seconds since the start."""
        until = time.monotonic() + deadline
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            raise AssertionError(f"only {len(self.accepted)} of {self.total} accepted after {deadline} s: {dict(self.refusals)}")
        return time.monotonic() - self._began

    def _take_number(self):
        with self._changed:
            while self._next >= self._limit and self._next < self.total:
                self._changed.wait()
            if self._next >= self.total or self.wrong:
                return None
            self._next += 1
            number = self._next
        time.sleep(max(0.0, self._began + number / self.rate - time.monotonic()))  # the pace
        return number

    def _post_all(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while (number := self._take_number()) is not None:
            began = time.monotonic()
            while not self._post(connection, number):
                if self.wrong:
                    return
                time.sleep(0.2)  # a provider does not repeat at once
            self.slowest_accept = max(self.slowest_accept, time.monotonic() - began)

    def _post(self, connection, number):
        """One request; whether it was accepted."""
        form = urllib.parse.urlencode({"identity": f"1{number:09}", "text": f"echo {number}", "id": number})
        began = time.monotonic()
        try:
            connection.request("POST", "/backends/sink/", form, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status = type(error).__name__
        self.slowest_answer = max(self.slowest_answer, time.monotonic() - began)
        if status == 200:
            self.accepted.add(str(number))
            return True
        with self._changed:
            self.refusals[status] += 1
        if isinstance(status, int) and status < 500:
            self.wrong.append(f"{status} for message {number}")
        return False
