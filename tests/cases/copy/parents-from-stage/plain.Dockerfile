FROM busybox AS s
RUN mkdir -p /dst/o/p/q && echo x >/dst/o/p/q/x && chmod 750 /dst/o/p && chown 5:6 /dst/o/p/q/x
FROM scratch
COPY --from=s /dst /dst
