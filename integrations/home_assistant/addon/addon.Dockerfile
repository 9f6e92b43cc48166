
# What makes an add-on of the image: assemble.sh appends this to the project's Dockerfile.
USER root
COPY start.py ingress.py /opt/smarthouse/addon/
HEALTHCHECK NONE
CMD ["python", "/opt/smarthouse/addon/start.py"]
