FROM busybox
COPY src/b /dst/src/b
