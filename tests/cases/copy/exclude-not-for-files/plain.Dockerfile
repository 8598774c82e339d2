FROM busybox
COPY top.txt src /1/
