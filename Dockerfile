# The app for visitors, on a CPU: docker build -t senet_viz . && docker run --rm -p 8501:8501 senet_viz
# What stands behind the image's name goes to the app: docker run … senet_viz --models 'demo/*' (see docs/operating.md)
FROM python:3.11-slim

# The address of an index of CPU wheels of PyTorch, which are gigabytes smaller; without it pip takes its usual ones
ARG TORCH_INDEX=

# What seldom changes comes first: a change of the code installs nothing anew
WORKDIR /app
COPY requirements.txt .
RUN grep '^torch' requirements.txt > torch.txt \
    && pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch.txt \
    && pip install --no-cache-dir -r requirements.txt \
    && useradd --create-home --uid 1000 app \
    && install --directory --owner app --group app /home/app/.cache

COPY .streamlit .streamlit
COPY assets assets
COPY senet_viz senet_viz
COPY pages pages
COPY app.py deploy/healthcheck.py ./

# The code is root's, so that the app cannot change it. It writes weights into its home (a volume keeps them) and uploaded
# checkpoints into /tmp
USER 1000
ENV HF_HOME=/home/app/.cache/huggingface \
    TORCH_HOME=/home/app/.cache/torch \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501 \
    STREAMLIT_SERVER_HEADLESS=true \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none \
    STREAMLIT_BROWSER_SERVER_ADDRESS=localhost
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "healthcheck.py"]
ENTRYPOINT ["streamlit", "run", "app.py", "--"]
