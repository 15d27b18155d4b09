"""The choices a person has when a tissue is read."""

from pydantic import PositiveInt

from synthome.config import Config
from synthome.ingestion.config import ColumnName


class TissueConfig(Config):
    """Which column is what, where the counts are, and which spots are too poor to be kept.

    Parameters
    ----------
    labels
        Column with the domain of each spot, which scores alone know: no model is shown it. A spot
        without one stays. Without it, the column that the source itself names (simulated slices
        do); without that there are no domains to compare with.
    section
        Column with the section of each spot. Spots of different sections are never neighbours, and
        the image of a section is found by its name. These names are shown in logs and reports,
        so that they must not say who the patient is. Without it, the column that the source
        names, else a column ``section``, else all spots are of one section.
    library_size
        Column with the total counts of a spot over the whole transcriptome, where the file holds
        a part of it; without it the sum over the genes of the file.
    layer
        ``X``, ``raw`` or the name of a layer; None looks in ``layers["counts"]``, ``X`` and
        ``raw``, in this order.
    where
        Column of true and false: only the spots that are true are kept.
    min_counts
        Spots with fewer counts over the genes of the file are left out.
    discordant
        Column of true and false: the planted patches of a simulation, where molecules and image
        are known to disagree. Without it, the column that the source names.
    """

    labels: ColumnName = None
    section: ColumnName = None
    library_size: ColumnName = None
    layer: ColumnName = None
    where: ColumnName = None
    min_counts: PositiveInt = 1
    discordant: ColumnName = None
