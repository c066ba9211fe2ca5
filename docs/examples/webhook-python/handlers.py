"""Two handlers of RapidSMS, ported: only the first line and the last ones differ."""

import os

from rapidsms_gateway import KeywordHandler, PatternHandler, serve


class RegisterHandler(KeywordHandler):
    keyword = "register|reg|join"

    def help(self):
        self.respond("To register, send JOIN <NAME>")

    def handle(self, text):
        self.respond(f"Thank you for registering, {text}!")


class SumHandler(PatternHandler):
    pattern = r"^(\d+) plus (\d+)$"

    def handle(self, a, b):
        self.respond(f"{a} plus {b} equals {int(a) + int(b)}.")


if __name__ == "__main__":
    serve([RegisterHandler, SumHandler], os.environ["WEBHOOK_SECRET"], int(os.environ.get("PORT", "9000")))
