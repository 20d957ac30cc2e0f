# The page in a container; docs/hosting.md says how to build and run it.
# By its digest, so that it is the same image tomorrow; docs/hosting.md says how to take a newer one.
FROM python:3.12.14-slim@sha256:7a8b475003c4fe15a2cd4e55e5cfc2f3560bdc9333d624f24cdd6d4340fd7a17

# Spaces run containers as user 1000, and nothing here needs more rights than a visitor has.
RUN useradd --create-home --uid 1000 user
WORKDIR /home/user/app

# A layer of its own: it takes minutes, and changes more seldom than the code.
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r requirements.lock

COPY app.py ./
COPY img2prompt/ img2prompt/
COPY assets/ assets/
# The files stay root's, so user 1000 could not write the compiled ones: every start would compile.
RUN python -m compileall -q app.py img2prompt

USER user
# 0.0.0.0: a container's own loopback is no way in. Gradio asks no server for news of itself.
ENV GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_ANALYTICS_ENABLED=False \
    PYTHONUNBUFFERED=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ.get('GRADIO_SERVER_PORT', '7860'), timeout=5)"]
CMD ["python", "app.py"]
