# Serves a model: docker build -t chalknet . && docker run -p 8000:8000 -e CHALKNET_TOKEN=... -v ./runs/letters:/model:ro chalknet
FROM python:3.13-slim
COPY . /source
RUN pip install --no-cache-dir --constraint /source/constraints.txt "/source[serve]" && rm -r /source
RUN useradd --create-home chalknet
USER chalknet
EXPOSE 8000
ENTRYPOINT ["chalknet", "serve", "--host", "0.0.0.0"]
CMD ["model=/model"]
