FROM busybox
COPY x.tar /d/
