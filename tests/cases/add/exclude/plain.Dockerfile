FROM busybox
COPY src/a/main.c /1/
