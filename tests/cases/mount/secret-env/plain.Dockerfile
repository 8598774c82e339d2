FROM busybox
RUN echo yes >/1
