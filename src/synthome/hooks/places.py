"""Where the data of a dataset lie. The one place that looks behind the face of a Kedro dataset."""

from pathlib import Path
from typing import Any


def current_path(dataset: Any) -> Path | None:
    """File of the version that was saved or loaded last; None when the data are not on disk."""
    if getattr(dataset, "_version", None) is not None:
        return Path(str(dataset._get_load_path()))
    return plain_path(dataset)


def plain_path(dataset: Any) -> Path | None:
    """Path as the catalog writes it; None for memory, and for a remote file system."""
    found = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
    if not found or getattr(dataset, "_protocol", "file") not in {"file", "", "local"}:
        return None
    return Path(str(found))


def loaded_version(dataset: Any) -> str | None:
    """Version that was loaded; None when the dataset has no versions."""
    if getattr(dataset, "_version", None) is None:
        return None
    return dataset.resolve_load_version()


def metadata(dataset: Any, section: str) -> Any:
    """Entry ``section`` of the metadata in the catalog."""
    return (getattr(dataset, "metadata", None) or {}).get(section)


def mlflow_metadata(dataset: Any) -> list[Any]:
    """What the catalog asks MLflow for: one entry, or a list of them, always as a list."""
    wanted = metadata(dataset, "mlflow") or []
    return wanted if isinstance(wanted, list) else [wanted]


def shown(path: Path) -> str:
    """Path as it is typed from the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
