# handoffd in an image. The application goes on top of it:
#
#   FROM localhost/handoffd
#   COPY app /srv/app
#   COPY handoffd.yaml /etc/handoffd/handoffd.yaml
#
# How it is run, and what it needs: docs/install.md#image.

FROM node:24-bookworm-slim AS build
RUN apt-get update -q \
  && apt-get install -y -q --no-install-recommends build-essential python3 \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /usr/lib/handoffd
# The packages and the addon: what is changed in TypeScript alone builds neither again. .dockerignore keeps out what no build reads.
COPY package.json package-lock.json binding.gyp ./
COPY tools/build-native.mjs tools/prebuilt.mjs tools/
COPY handoff/native handoff/native
RUN npm ci --ignore-scripts && node tools/build-native.mjs
COPY . .
RUN npm run build && node tools/stage-program.mjs /program

FROM node:24-bookworm-slim AS runtime
# tini is the first process: it reaps what applications leave behind, and passes SIGTERM on. The mode is that of a tmpfs, which podman
# makes as the folder is that it covers.
RUN apt-get update -q \
  && apt-get install -y -q --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* \
  && groupadd --system --gid 65532 handoffd \
  && useradd --system --uid 65532 --gid 65532 --no-create-home --home-dir /var/lib/handoffd handoffd \
  && ln -s /usr/lib/handoffd/bin/handoffd /usr/lib/handoffd/bin/handoffctl /usr/bin/ \
  && install -d /etc/handoffd \
  && install -d -o handoffd -g handoffd -m 700 /var/lib/handoffd \
  && install -d -o handoffd -g handoffd -m 1777 /run/handoffd
COPY --from=build /program /usr/lib/handoffd
ENV NODE_ENV=production RUNTIME_DIRECTORY=/run/handoffd STATE_DIRECTORY=/var/lib/handoffd
# By number: Kubernetes' runAsNonRoot wants to see one.
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["handoffctl", "status"]
ENTRYPOINT ["tini", "--", "handoffd", "run", "-c", "/etc/handoffd/handoffd.yaml"]
