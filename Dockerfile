# steno's image, for those who build with docker: docker build --tag steno:dev .
#
# `make image` makes the same image without docker. Here Node's shared libraries are Debian 12's, there those of the machine.
FROM node:24-bookworm AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
# With the optional packages: Node for the image and esbuild's program are among them. Nobody's install scripts run.
RUN npm ci --ignore-scripts --include=dev --include=optional --no-audit --no-fund
COPY . .
RUN node tools/image/build.ts --root /image

FROM scratch
COPY --from=build /image/ /
# Only a container's runtime can write here, and what is mounted there belongs to this user.
COPY --from=build --chown=64242:64242 /image/var/lib/steno/ /var/lib/steno/
LABEL org.opencontainers.image.title="steno" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin HOME=/var/lib/steno MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072
USER 64242:64242
WORKDIR /
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=2", "--disable-warning=ExperimentalWarning", "/app/steno.js"]
CMD ["--help"]
