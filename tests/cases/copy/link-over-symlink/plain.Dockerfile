FROM busybox
RUN mkdir /real
COPY a.txt /link/x
