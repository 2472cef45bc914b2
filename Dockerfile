# handoffd in an image. The application goes on top of it:
#
#   FROM localhost/handoffd
#   COPY app /srv/app
#   COPY handoffd.yaml /etc/handoffd/handoffd.yaml
#
# A container ends with its first process, which is handoffd here, and the applications with it.
# The host's network (or one network namespace for all that listen together) is
# what makes the sockets worth owning.

FROM node:24-bookworm-slim AS build
RUN apt-get update -q \
  && apt-get install -y -q --no-install-recommends build-essential python3 \
  && rm -rf /var/lib/apt/lists/*
# The image has Node's headers: nothing is fetched for the addon.
ENV npm_config_nodedir=/usr/local
WORKDIR /usr/lib/handoffd
# All of it at once, since npm ci builds: the addon first, then the TypeScript. .dockerignore keeps the rest out.
COPY . .
RUN npm ci && npm prune --omit=dev --ignore-scripts

FROM node:24-bookworm-slim AS runtime
ENV NODE_ENV=production RUNTIME_DIRECTORY=/run/handoffd STATE_DIRECTORY=/var/lib/handoffd
WORKDIR /usr/lib/handoffd
COPY --from=build /usr/lib/handoffd/package.json /usr/lib/handoffd/LICENSE ./
COPY --from=build /usr/lib/handoffd/bin ./bin
COPY --from=build /usr/lib/handoffd/dist ./dist
COPY --from=build /usr/lib/handoffd/build/Release/handoff.node /usr/lib/handoffd/build/Release/handoff-exec /usr/lib/handoffd/build/Release/handoff-keeper ./build/Release/
COPY --from=build /usr/lib/handoffd/node_modules ./node_modules
RUN ln -s /usr/lib/handoffd/bin/handoffd /usr/lib/handoffd/bin/handoffctl /usr/bin/ \
  && mkdir -p /etc/handoffd /run/handoffd /var/lib/handoffd
WORKDIR /
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["handoffctl", "status"]
ENTRYPOINT ["handoffd", "run", "-c", "/etc/handoffd/handoffd.yaml"]
