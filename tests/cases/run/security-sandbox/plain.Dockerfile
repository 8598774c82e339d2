FROM busybox
RUN echo hi >/1
