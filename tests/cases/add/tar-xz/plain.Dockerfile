FROM busybox
ADD x.tar /d/
