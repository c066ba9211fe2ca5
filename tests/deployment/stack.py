"""The stack of docker-compose.yml under a name, ports and images of its own, driven through Docker's command line."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVICES = ("ingress", "dispatcher")
IMAGES = ("rust:1-bookworm", "rabbitmq:4-management", "nginx:1")
MINUTE = 60


class Unavailable(Exception):
    """The test cannot be made here, and what would help."""


def run(*command, deadline=2 * MINUTE, env=None, given=None):
    """Runs a command to its end and returns what it printed."""
    done = subprocess.run(command, cwd=ROOT, env=env, input=given, stdin=None if given else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=deadline, check=False)
    if done.returncode != 0:
        raise AssertionError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout.strip()


def eventually(what, deadline, look, pause=0.1):
    """Looks until the look returns something true, and returns that; what the last look saw is told when it is too late."""
    until = time.monotonic() + deadline
    while True:
        try:
            if seen := look():
                return seen
        except (OSError, AssertionError) as error:
            seen = error
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline} s: {what}; last seen: {seen}")
        time.sleep(pause)


def free_port(wanted=0):
    """A port of this machine that nobody listens on: the wanted one if it is free."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return sock.getsockname()[1]


def check_images():
    """All base images are there, or can be fetched."""
    for image in IMAGES:
        if subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode != 0:
            try:
                run("docker", "pull", "--quiet", image, deadline=10 * MINUTE)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                raise Unavailable(f"the image {image} is missing and cannot be fetched; get it with `docker pull {image}` where "
                                  f"a registry can be reached, or load it: `docker load -i FILE`\n{error}") from error


class Stack:
    """One project of Docker Compose."""

    def __init__(self, project):
        self.project = project
        self.files = ["-f", "docker-compose.yml"]
        self.images = set()  # that have had its tags
        self.port, self.admin_port = free_port(8000), free_port(8001)
        self.env = os.environ | {
            "GATEWAY_TAG": project,
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "GATEWAY_ADMIN_PORT": str(self.admin_port),
            "RABBITMQ_MANAGEMENT_PORT": str(free_port(15672)),
        }

    def compose(self, *command, deadline=3 * MINUTE):
        return run("docker", "compose", "-p", self.project, *self.files, *command, deadline=deadline, env=self.env)

    def image(self, service):
        return f"rapidsms-gateway-{service}:{self.project}"

    def build(self):
        for service in SERVICES:  # one after the other: without BuildKit they would compile twice
            self.compose("build", service, deadline=45 * MINUTE)

    def scale(self, **replicas):
        """Starts the stack, or what has changed of it, with so many replicas of each service, and waits until all are ready."""
        scaled = [word for service, count in replicas.items() for word in ("--scale", f"{service}={count}")]
        self.compose("up", "-d", "--no-build", "--wait", *scaled, deadline=5 * MINUTE)
        self.all_ready()

    def containers(self, service):
        """The names of its running containers."""
        return sorted(self.compose("ps", "--format", "{{.Name}}", service).split())

    def inspect(self, container):
        return json.loads(run("docker", "inspect", container))[0]

    def address(self, container):
        networks = self.inspect(container)["NetworkSettings"]["Networks"].values()
        return next(network["IPAddress"] for network in networks)

    def is_ready(self, service, address):
        port = {"ingress": 8001, "dispatcher": 8002}[service]
        with urllib.request.urlopen(f"http://{address}:{port}/health/ready", timeout=2) as answer:
            return answer.status == 200

    def wait_ready(self, service, container, deadline=30):
        """Waits until the process says that it is ready."""
        eventually(f"{container} is ready", deadline, lambda: self.is_ready(service, self.address(container)), pause=0.02)

    def all_ready(self, deadline=MINUTE):
        for service in SERVICES:
            for container in self.containers(service):
                self.wait_ready(service, container, deadline)

    def redelivered(self):
        """How many messages RabbitMQ has handed out a second time since it started."""
        url = f"http://{self.address(f'{self.project}-rabbitmq-1')}:15692/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            metrics = answer.read().decode()
        counted = re.findall(r"^rabbitmq_global_messages_redelivered_total\{.*\} (\d+)", metrics, re.MULTILINE)
        if not counted:
            raise AssertionError("RabbitMQ does not tell how many messages it redelivered")
        return sum(map(int, counted))

    def kill(self, container):
        """As the kernel would: not through the engine, which takes its own kill for a wish that it shall stay down."""
        pid = str(self.inspect(container)["State"]["Pid"])
        run("docker", "run", "--rm", "--pid=host", "--entrypoint", "sh", "nginx:1", "-c", f"kill -9 {pid}")

    def host_address(self):
        """The address by which containers reach this machine."""
        seen = run("docker", "run", "--rm", "--add-host", "host:host-gateway", "--entrypoint", "getent", "nginx:1", "ahostsv4", "host")
        return seen.split()[0]

    def roll_images(self, generation):
        """Gives the tags to new images, as a build of changed sources would."""
        for service in SERVICES:
            self.images.add(run("docker", "image", "inspect", "--format", "{{.Id}}", self.image(service)))
            recipe = f"FROM {self.image(service)}\nLABEL generation={generation}\n"
            run("docker", "build", "--quiet", "--tag", self.image(service), "-", given=recipe)

    def last_words(self):
        """The last lines of each container, without those of single messages."""
        command = ("docker", "compose", "-p", self.project, *self.files, "logs", "--no-color", "--tail", "200")
        lines = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False).stdout.splitlines()
        told, kept = {}, []
        for line in reversed(lines):
            container = line.split("|")[0]
            if not re.search(r" INFO (accepted|routed|sent) ", line) and told.setdefault(container, 0) < 8:
                told[container] += 1
                kept.append(line)
        return "\n".join(reversed(kept))

    def remove(self):
        """Removes containers, networks, volumes and images; the layers of the build stay, for the next one."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "10")
        for image in [*map(self.image, SERVICES), *self.images]:
            subprocess.run(("docker", "image", "rm", "--no-prune", image), capture_output=True, check=False, timeout=MINUTE)
