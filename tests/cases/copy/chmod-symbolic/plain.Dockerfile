FROM busybox
COPY . /1
RUN chmod 644 /1/a.txt /1/d/x /1/d/sub/y; chmod 755 /1/b.txt /1/d/sub /1/d
COPY --chmod=711 a.txt /2
COPY d /3
RUN cd /3; chmod 4711 sub; chmod 4600 x sub/y
