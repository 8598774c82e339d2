FROM busybox
COPY src/b /1/b
