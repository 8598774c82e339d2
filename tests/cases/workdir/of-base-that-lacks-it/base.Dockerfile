FROM busybox
WORKDIR /gone
RUN cd / && rmdir /gone
