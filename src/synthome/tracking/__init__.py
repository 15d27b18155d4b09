"""What a run leaves in MLflow: records made by the hooks, and the one module that sends them."""
