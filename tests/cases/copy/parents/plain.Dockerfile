FROM busybox
COPY src/a/main.c /dst/src/a/
COPY top.txt /dst/
