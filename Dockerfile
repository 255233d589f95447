# One image with the four programs; the command says which: `api`, `worker`, `follower` or `gateway-mock`.
# Its caches need BuildKit, the default since Docker 23.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /comanda
COPY . .
# The caches outlive the build: a change here compiles what it touches, not the five hundred crates below it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/comanda/target \
    cargo build --release --locked -p api -p worker -p follower -p gateway-mock && \
    mkdir /programs /ledger /keys && \
    cp target/release/api target/release/worker target/release/follower target/release/gateway-mock /programs/ && \
    strip /programs/*

FROM debian:bookworm-slim
# To trust a broker, a database or a gateway behind TLS. Nothing else is installed: the programs ask themselves for
# their health (--health).
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /programs/ /usr/local/bin/
# Nobody in particular, who may write to two places: volumes there, if any, keep the ledger of gateway-mock and the keys that
# tokens are signed with.
COPY --from=build --chown=10001:10001 /ledger/ /ledger/
COPY --from=build --chown=10001:10001 /keys/ /keys/
USER 10001:10001
ENV LOG_FORMAT=json
STOPSIGNAL SIGTERM
CMD ["api"]
