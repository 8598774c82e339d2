FROM busybox
COPY --chmod=600 a.txt /1
