FROM busybox
COPY src/a/main.c /1/
COPY src /2/
RUN rm /2/*/main.c
COPY src/a/main.c /3/a/
