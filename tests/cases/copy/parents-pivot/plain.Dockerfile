FROM busybox
COPY src/a/main.c /dst/a/
COPY src/b/deep /dst/b/deep
