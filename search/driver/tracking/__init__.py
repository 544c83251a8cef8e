"""Everything that a study leaves in MLflow passes through here."""

import os

# MLflow reads these when it is imported. A dead server must be noticed in seconds: the forwarder
# tries again by itself, while MLflow's own retries block each call for minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
# The links that it prints show a server's address with its password.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
# Its asynchronous mode drops batches and says that all went well.
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
