FROM busybox AS mine
ARG TARGETSTAGE=mine
RUN echo "<$TARGETSTAGE>" >/1
