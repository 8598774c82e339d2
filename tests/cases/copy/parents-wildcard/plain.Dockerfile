FROM busybox
COPY src/a/main.c /dst/src/a/
COPY src/b/main.c /dst/src/b/
