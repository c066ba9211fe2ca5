# The images of the two services: `docker build --target ingress .`, `docker build --target dispatcher .`, or both with
# `docker compose build`. Nothing here needs BuildKit; without it, build one after the other, so that the second finds
# the first's layers.

FROM rust:1-bookworm AS build
WORKDIR /src

# The dependencies alone, so that this layer lasts until a manifest or the lock file changes. Cargo wants every member of
# the workspace, and each with something to compile: stand-ins, which are cleaned away lest they pass for the real ones.
COPY Cargo.toml Cargo.lock ./
COPY ingress/Cargo.toml ingress/
COPY dispatcher/Cargo.toml dispatcher/
COPY shared/Cargo.toml shared/
COPY standalone/Cargo.toml standalone/
COPY tests/Cargo.toml tests/
RUN set -eu; \
    for member in ingress dispatcher shared standalone tests; do \
        mkdir "$member/src"; echo '//! A stand-in.' | tee "$member/src/lib.rs" >"$member/src/main.rs"; \
        echo 'fn main() {}' >>"$member/src/main.rs"; \
    done; \
    cargo build --release --locked -p ingress -p dispatcher; \
    cargo clean --release --locked -p ingress -p dispatcher -p shared

COPY shared/ shared/
COPY ingress/ ingress/
COPY dispatcher/ dispatcher/
RUN cargo build --release --locked -p ingress -p dispatcher

# Everything that the programs need of a system, and nothing else: the C library, whose own resolver does DNS; the order
# that it resolves names in; and the certificate authorities, for TLS to providers and to the broker.
RUN set -eu; \
    mkdir -p /runtime/etc/ssl/certs; \
    ldd target/release/ingress target/release/dispatcher | grep -o '/[^ ]*\.so[^ ]*' | sort -u | xargs cp --parents --dereference -t /runtime; \
    cp /etc/ssl/certs/ca-certificates.crt /runtime/etc/ssl/certs/; \
    echo 'hosts: files dns' >/runtime/etc/nsswitch.conf

FROM scratch AS runtime
COPY --from=build /runtime/ /
# There is no shell that would look for programs, and no configuration: mount one here.
ENV PATH=/usr/local/bin GATEWAY_CONFIG=/etc/gateway/gateway.toml
# A number, because there is no list of users to look up a name in. The configuration must be readable to it.
USER 10001:10001

FROM runtime AS ingress
COPY --from=build /src/target/release/ingress /usr/local/bin/
EXPOSE 8000 8001
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["ingress", "health"]
ENTRYPOINT ["ingress"]

FROM runtime AS dispatcher
COPY --from=build /src/target/release/dispatcher /usr/local/bin/
EXPOSE 8002
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["dispatcher", "health"]
ENTRYPOINT ["dispatcher"]
