FROM conform-onbuild-2
ONBUILD RUN echo two >/two
RUN test -e /one
