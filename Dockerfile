# A static binary alone in an image. It is built outside, since one machine can build it for every architecture:
#
#     cargo run -p testinium-testbed --bin image -- --architectures amd64,arm64
#
# That leaves what is copied here in target/image/context. It also does without an engine what is written here, and leaves
# the image in target/image/layout, for any tool that pushes an OCI layout: it knows the instructions that are used here
# and no others. An engine makes an image of the same content:
#
#     docker buildx build --platform linux/amd64,linux/arm64 --file Dockerfile target/image/context

FROM scratch
# The engine sets it to the architecture that the image is for: amd64 or arm64.
ARG TARGETARCH
ARG VERSION
ARG REVISION
ARG SOURCE
# Trusted for gateways without tls.caRef. The Kubernetes API server's CA comes with the pod's ServiceAccount.
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY ${TARGETARCH}/testinium-operator /testinium-operator
# By number, since there is no /etc/passwd; runAsNonRoot demands a number too.
USER 65532:65532
ENTRYPOINT ["/testinium-operator"]
CMD ["run"]
LABEL org.opencontainers.image.title="testinium-operator" \
    org.opencontainers.image.description="Stops Testinium test plans from Kubernetes" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.source="${SOURCE}"
