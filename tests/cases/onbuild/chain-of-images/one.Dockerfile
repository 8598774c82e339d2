FROM busybox
ONBUILD RUN echo one >/one
