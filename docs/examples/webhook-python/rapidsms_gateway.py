"""Answers the gateway's `webhook` app with handlers that are written as RapidSMS's. Copy it into your project."""

import hashlib
import hmac
import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler:
    def __init__(self, message):
        self.msg, self.replies = message, []

    def respond(self, text, **to):  # to the sender, or to `identities` through `backend`
        self.replies.append({"text": text, **to})


class KeywordHandler(Handler):
    @classmethod
    def dispatch(cls, message):
        match = re.match(rf"\s*(?:{cls.keyword})(?:[\s,;:]+(?P<rest>.*))?\Z", message["text"], re.I | re.S)
        if match:
            handler = cls(message)
            handler.handle(match["rest"]) if match["rest"] else handler.help()
            return handler.replies


class PatternHandler(Handler):
    @classmethod
    def dispatch(cls, message):
        match = re.match(cls.pattern, message["text"], re.I)
        if match:
            handler = cls(message)
            handler.handle(*match.groups())
            return handler.replies


def answer(handlers, message):
    for handler in handlers:
        replies = handler.dispatch(message)
        if replies is not None:
            return {"handled": True, "messages": replies}
    return {}


def is_signed(secret, signature, body):
    """Whether whoever knows the secret wrote the body, in the last five minutes."""
    fields = dict(field.partition("=")[::2] for field in signature.split(","))
    at, given = fields.get("t", ""), fields.get("v1", "")
    wanted = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), given.encode()) and abs(time.time() - int(at)) < 300


def serve(handlers, secret, port):
    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not is_signed(secret, self.headers.get("X-Gateway-Signature", ""), body):
                return self.send_error(401)
            reply = json.dumps(answer(handlers, json.loads(body))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))  # so that half of an answer is not taken for one
            self.end_headers()
            self.wfile.write(reply)

    ThreadingHTTPServer(("127.0.0.1", port), Webhook).serve_forever()
