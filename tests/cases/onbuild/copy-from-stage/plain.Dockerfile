FROM busybox AS src
RUN echo s >/s
FROM busybox AS a
FROM a
COPY --from=src /s /s2
