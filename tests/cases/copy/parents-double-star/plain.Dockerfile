FROM busybox
COPY top.txt /dst/
COPY other/top.txt /dst/other/
COPY src/a/main.c /dst/src/a/
COPY src/b/main.c /dst/src/b/
COPY src/b/deep/z.c /dst/src/b/deep/
