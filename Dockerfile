# A static binary alone in an image, for any architecture that the builder runs on:
#
#     docker build --tag testinium-operator:0.1.0 .

# Rust for musl libc, so that the binary needs nothing of its image.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache ca-certificates gcc musl-dev
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package testinium-operator

FROM scratch
# Trusted for gateways without tls.caRef. The Kubernetes API server's CA comes with the pod's ServiceAccount.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/testinium-operator /testinium-operator
# By number, since there is no /etc/passwd; runAsNonRoot demands a number too.
USER 65532:65532
ENTRYPOINT ["/testinium-operator"]
CMD ["run"]
