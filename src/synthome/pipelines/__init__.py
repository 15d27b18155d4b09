"""Wiring: nodes connect the library to the catalog."""

import warnings

# Systems read the data of the namespace `bulk`, whose dots Kedro's own namespacing wrote; Kedro
# warns of any dot that is not of a node's own namespace.
warnings.filterwarnings("ignore", message="One or more dataset names contain", category=UserWarning)
