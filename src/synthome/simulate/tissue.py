"""A layered slice with planted truth: domains, smooth programmes, a histology image, discordance.

For spot i at place s_i of section q, whose molecules are of layer k(i), and gene j (natural logs):

    a_ip   = sqrt(1 - v) f_p(s_i) + sqrt(v) e_ip            activity of programme p           (1)
    eta_ij = m_j + t_k(i)j + sum_p a_ip w_pj + b_qj         log composition                   (2)
    mu_ij  = l_i softmax_j(eta_ij)                          expected counts                   (3)
    x_ij   ~ NegativeBinomial(mu_ij, theta_j)               var = mu + mu^2 / theta           (4)
    1 / theta_j = phi_0 + phi_1 / mean_i mu_ij              trend of DESeq2                   (5)

f_p is a smooth random field of variance 1, e_ip is Normal(0, 1): programmes run across layers and
are shared by all of them, so that what varies smoothly is not always a domain. t_kj marks a layer,
each on a share of the genes. Library sizes l_i are log-normal.

The anatomical layer of a place, ``obs["layer"]``, follows curved bands of unequal width, and the
image shows it. The layer whose molecules were drawn, ``obs["molecular_layer"]``, k(i) of eq. 2, is
the same but in a few compact patches, ``obs["discordant"]``, where it is another one: there the
image keeps showing the layer of the place, and molecules and morphology disagree. Domains are
scored against ``molecular_layer``.

The image is stained by Beer and Lambert's law with haematoxylin h and eosin e, of the colours c of
Macenko and colleagues (rounded), at each pixel

    rgb = 255 exp(-(h c_h + e c_e))                                                           (6)

where nuclei (their density, size and direction by layer) carry h and fibres (along or across the
layers) carry e; both stains vary smoothly over a section, and from section to section.

Love, Huber, Anders (2014), Genome Biology 15, 550. doi:10.1186/s13059-014-0550-8 (eq. 5)
Macenko et al. (2009), IEEE ISBI, 1107-1110. doi:10.1109/ISBI.2009.5193250 (eq. 6)
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from scipy import sparse
from scipy.spatial import cKDTree

from synthome.anndata_schema import COUNTS, UNS
from synthome.config import Config
from synthome.generator import proportional
from synthome.rng import generator
from synthome.simulate.counts import draw_counts, expected_counts
from synthome.simulate.histology import Slide, render

LAYERS = ("L1", "L2", "L3", "L4", "WM")  # from the surface inwards
WIDTHS = np.array([0.12, 0.16, 0.30, 0.17, 0.25])  # shares of the spots
PITCH = 100.0  # pixels of the full-resolution image between neighbouring spots
SPOT = 55.0  # diameter of a spot: 55 um of 100, as in Visium
MARGIN = 3 * PITCH  # of bare glass around the tissue
MOST = 2.5  # spreads above the mean at which m_j is cut off
WAVES = 64  # of which a smooth random field is the sum
FAR = 2  # layers between the place of a patch and its molecules, where there are that many


class TissueSliceConfig(Config):
    """Size of the slice and of the planted effects.

    Attributes
    ----------
    n_obs
        Spots of each section.
    n_sections
        Sections of one tissue: the same genes, each with its outline, layers, stain and patches.
    discordant_share, n_patches
        Share of the spots that lie in patches, and patches of each section.
    gene_spread
        Standard deviation of m_j: how unequal genes are.
    layer_share, layer_effect
        Share of the genes that mark a layer, and standard deviation of their effect.
    n_programmes, programme_share, programme_loading
        Programmes; share of the genes in one, and median of their |w_pj|.
    programme_noise
        v of eq. 1: the part of an activity that no neighbour shares.
    smoothness
        Length over which f_p changes, in spots.
    section_effect
        Standard deviation over genes of b_qj.
    library_size, library_spread
        Median counts per spot over these genes, and spread of their log.
    dispersion, extra_poisson
        phi_0 and phi_1 of eq. 5.
    image_width
        Pixels of the image that is kept; 0 renders none.
    """

    n_obs: int = Field(default=1500, ge=100)
    n_vars: int = Field(default=600, ge=50)
    n_sections: PositiveInt = 1
    discordant_share: float = Field(default=0.06, ge=0, le=0.2)
    n_patches: PositiveInt = 4
    gene_spread: NonNegativeFloat = 1.0
    layer_share: float = Field(default=0.25, gt=0, le=1)
    layer_effect: NonNegativeFloat = 0.3
    n_programmes: PositiveInt = 3
    programme_share: float = Field(default=0.1, gt=0, le=1)
    programme_loading: NonNegativeFloat = 0.15
    programme_noise: float = Field(default=0.5, ge=0, le=1)
    smoothness: PositiveFloat = 8.0
    section_effect: NonNegativeFloat = 0.1
    library_size: PositiveFloat = 600
    library_spread: NonNegativeFloat = 0.4
    dispersion: PositiveFloat = 0.2
    extra_poisson: NonNegativeFloat = 0.1
    image_width: int = Field(default=1200, ge=0, le=4000)
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        planted = round(self.discordant_share * self.n_obs)
        if 0 < planted < self.n_patches:
            raise ValueError(
                f"discordant_share plants {planted} spots in n_patches={self.n_patches} patches: "
                "ask for fewer patches or more spots."
            )
        return self


@dataclass(frozen=True, eq=False)
class _Genes:
    """What belongs to genes, the same in all sections."""

    log_mean: Float[np.ndarray, " n_vars"]  # m_j
    layer_profile: Float[np.ndarray, "n_layers n_vars"]  # t_kj
    loading: Float[np.ndarray, "n_programmes n_vars"]  # w_pj
    section_effect: Float[np.ndarray, "n_sections n_vars"]  # b_qj


@dataclass(frozen=True, eq=False)
class _Spots:
    """What belongs to the spots of one section."""

    grid: Int[np.ndarray, "n_obs 2"]  # array_row, array_col
    xy: Float[np.ndarray, "n_obs 2"]
    layer: Int[np.ndarray, " n_obs"]
    molecular: Int[np.ndarray, " n_obs"]  # k(i)
    activity: Float[np.ndarray, "n_obs n_programmes"]  # a_ip
    library_size: Float[np.ndarray, " n_obs"]  # l_i
    slide: Slide


@dataclass(frozen=True, eq=False)
class _Anatomy:
    """Outline and depth of a section as functions of the place, in units of its half width."""

    outline: Float[np.ndarray, " 8"]  # waves of the radius by angle: size and phase
    pole: Float[np.ndarray, " 2"]  # centre of the curved layers
    wobble: Float[np.ndarray, "2 4"]  # waves of the depth: frequency (2), phase, size

    def reach(self, s: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
        """How far a place is out: below a threshold it is tissue."""
        angle = np.arctan2(s[..., 1], s[..., 0])
        waves = np.arange(2, 6)
        size, phase = self.outline[:4], self.outline[4:]
        radius = 1 + (size * np.cos(waves * angle[..., None] + phase)).sum(axis=-1)
        return ((np.abs(s) ** 2.5).sum(axis=-1)) ** (1 / 2.5) / radius

    def along(self, s: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
        """Place along the layers: the angle at the pole, times the distance of the middle."""
        away = s - self.pole
        return np.arctan2(away[..., 0], -away[..., 1]) * np.linalg.norm(self.pole)

    def depth(self, s: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
        """How deep below the surface a place is: arcs around a pole, with two slow waves."""
        arc = -np.linalg.norm(s - self.pole, axis=-1)
        for fx, fy, phase, size in self.wobble:
            arc = arc + size * np.sin(fx * s[..., 0] + fy * s[..., 1] + phase)
        return arc


def simulate_tissue(config: TissueSliceConfig | None = None) -> AnnData:
    """Draw spots as raw counts (CSR float32), their image, and the truth that gave them.

    ``uns["spatial"]`` holds the image of each section as ``hires``. ``uns["truth"]`` holds, for
    each gene in ``gene``: ``log_mean``, ``theta``, ``mean_counts``, ``layer_profile`` (n_layers,
    n_vars) in the order of ``layers``, ``programme_loading`` (n_programmes, n_vars) and
    ``section_effect``; for each spot in ``sample``: ``programme_activity`` (n_obs, n_programmes)
    and ``library_size``, the expected counts.
    """
    config = config or TissueSliceConfig()
    genes = _draw_genes(config)
    sections = [_draw_spots(config, q) for q in range(config.n_sections)]
    names = [f"S{q + 1}" for q in range(config.n_sections)]
    mu = np.concatenate([_expected(genes, spots, q) for q, spots in enumerate(sections)])
    theta = 1 / (config.dispersion + config.extra_poisson / mu.mean(axis=0))  # eq. 5
    rng = generator(config.seed, "tissue", "counts")
    counts = sparse.csr_matrix(draw_counts(mu, theta, rng), dtype=np.float32)  # eq. 4

    obs = pd.concat([_sheet(spots, name) for spots, name in zip(sections, names, strict=True)])
    var_names = np.array([f"GENE{j + 1:04d}" for j in range(config.n_vars)])
    truth = {
        "gene": var_names,
        "log_mean": genes.log_mean,
        "theta": theta,
        "mean_counts": mu.mean(axis=0),
        "layers": np.array(LAYERS),
        "layer_profile": genes.layer_profile,
        "programme_loading": genes.loading,
        "section_effect": genes.section_effect,
        "sample": obs.index.to_numpy(dtype=str),
        "programme_activity": np.concatenate([spots.activity for spots in sections]),
        "library_size": np.concatenate([spots.library_size for spots in sections]),
    }
    images = _images(config, sections, names)
    return AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame(index=var_names),
        layers={COUNTS: counts},
        obsm={"spatial": np.concatenate([spots.xy for spots in sections])},
        uns=images
        | {
            "truth": truth,
            UNS: {
                "label_key": "molecular_layer",
                "group_key": "",
                "batch_key": "",
                "section_key": "section",
                "discordant_key": "discordant",
                "scale": "counts",
                "source": f"simulated tissue (seed {config.seed})",
                "sha256": sha256(counts.data.tobytes() + counts.indices.tobytes()).hexdigest(),
            },
        },
    )


def _sheet(spots: _Spots, name: str) -> pd.DataFrame:
    """One row per spot of a section."""
    layers = np.array(LAYERS, dtype=object)
    return pd.DataFrame(
        {
            "section": name,
            "array_row": spots.grid[:, 0],
            "array_col": spots.grid[:, 1],
            "layer": layers[spots.layer],
            "molecular_layer": layers[spots.molecular],
            "discordant": spots.layer != spots.molecular,
        },
        index=[f"{name}_{row:03d}x{column:03d}" for row, column in spots.grid],
    )


def _images(config: TissueSliceConfig, sections: list[_Spots], names: list[str]) -> dict[str, Any]:
    """``uns["spatial"]``, or nothing where no image is asked for."""
    if not config.image_width:
        return {}
    spatial = {}
    for q, (spots, name) in enumerate(zip(sections, names, strict=True)):
        image, factor = render(
            spots.slide, config.image_width, generator(config.seed, "tissue", "image", q)
        )
        factors = {"tissue_hires_scalef": factor, "spot_diameter_fullres": SPOT}
        spatial[name] = {"images": {"hires": image}, "scalefactors": factors}
    return {"spatial": spatial}


def _draw_genes(config: TissueSliceConfig) -> _Genes:
    """Draw eq. 2 as far as it belongs to genes."""
    rng = generator(config.seed, "tissue", "genes")
    n = config.n_vars
    marks = rng.random((len(LAYERS), n)) < config.layer_share
    size = (config.n_programmes, n)
    in_programme = rng.random(size) < config.programme_share
    sign = rng.choice([-1.0, 1.0], size, p=[0.25, 0.75])  # most genes of a programme go together
    section_effect = rng.normal(0, config.section_effect, (config.n_sections, n))
    return _Genes(
        log_mean=config.gene_spread * np.minimum(rng.normal(size=n), MOST),
        layer_profile=marks * rng.normal(0, config.layer_effect, marks.shape),
        loading=in_programme * sign * config.programme_loading * np.exp(rng.normal(0, 0.3, size)),
        section_effect=section_effect - section_effect.mean(axis=0),
    )


def _draw_spots(config: TissueSliceConfig, section: int) -> _Spots:
    """Draw place, layers, activity (eq. 1) and library size of the spots of a section."""
    rng = generator(config.seed, "tissue", "spots", section)
    anatomy = _draw_anatomy(rng)
    half = 0.5 * PITCH * np.sqrt(config.n_obs)  # of the tissue, about
    grid, lattice = _lattice(1.5 * half)
    reach = anatomy.reach(lattice / half)
    inside = np.sort(np.argsort(reach, kind="stable")[: config.n_obs])
    edge = float(reach[inside].max())
    grid, place = grid[inside], lattice[inside]
    low, high = place.min(axis=0) - MARGIN, place.max(axis=0) + MARGIN
    depth = anatomy.depth(place / half)
    bounds = np.sort(depth)[np.cumsum(proportional(config.n_obs, WIDTHS))[:-1]]
    layer = np.searchsorted(bounds, depth, side="right")
    molecular = _plant_patches(place, layer, config, rng)
    field = _smooth_field(place / (config.smoothness * PITCH), config.n_programmes, rng)
    noise = rng.normal(size=field.shape)
    v = config.programme_noise
    spread = rng.normal(0, config.library_spread, config.n_obs)
    slide = Slide(
        size=high - low,
        reach=lambda s: anatomy.reach((s + low) / half) / edge,
        depth=lambda s: anatomy.depth((s + low) / half) * half / PITCH,
        along=lambda s: anatomy.along((s + low) / half) * half / PITCH,
        bounds=bounds * half / PITCH,
        unit=PITCH,
    )
    return _Spots(
        grid=grid - grid.min(axis=0),
        xy=place - low,
        layer=layer,
        molecular=molecular,
        activity=np.sqrt(1 - v) * field + np.sqrt(v) * noise,  # eq. 1
        library_size=config.library_size * np.exp(spread),
        slide=slide,
    )


def _draw_anatomy(rng: np.random.Generator) -> _Anatomy:
    """An irregular outline, and arcs around a pole below the tissue."""
    waves = np.column_stack([rng.uniform(-1, 1, (2, 2)) * [3.0, 1.5], rng.uniform(0, 2 * np.pi, 2)])
    return _Anatomy(
        outline=np.concatenate([rng.uniform(0.01, 0.05, 4), rng.uniform(0, 2 * np.pi, 4)]),
        pole=np.array([rng.uniform(-0.8, 0.8), rng.uniform(1.6, 2.0)]),
        wobble=np.column_stack([waves, [0.06, 0.04]]),
    )


def _lattice(half: float) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """A hexagonal grid: array_row and array_col as Visium numbers them, and x, y."""
    step = PITCH * np.sqrt(3) / 2
    rows, columns = int(half / step), int(half / PITCH)
    row, column = np.mgrid[-rows : rows + 1, -2 * columns : 2 * columns + 1]
    real = (row + column) % 2 == 0
    grid = np.column_stack([row[real], column[real]])
    return grid, np.column_stack([grid[:, 1] * PITCH / 2, grid[:, 0] * step])


def _plant_patches(
    place: Float[np.ndarray, "n_obs 2"],
    layer: Int[np.ndarray, " n_obs"],
    config: TissueSliceConfig,
    rng: np.random.Generator,
) -> Int[np.ndarray, " n_obs"]:
    """The layer of the molecules: another one in compact patches, each within one layer.

    A patch is a spot and its nearest of the same layer, where these are close together.
    """
    molecular = layer.copy()
    sizes = proportional(round(config.discordant_share * len(layer)), np.ones(config.n_patches))
    widest = np.argsort(-np.bincount(layer, minlength=len(LAYERS)), kind="stable")
    for number, size in enumerate(sizes if sizes.any() else []):
        home = widest[number % len(widest)]
        free = np.flatnonzero((layer == home) & (molecular == layer))
        size = min(size, len(free))
        distance, nearest = cKDTree(place[free]).query(place[free], k=np.arange(1, size + 1))
        compact = np.argsort(distance[:, -1], kind="stable")[: max(len(free) // 20, 1)]
        others = np.abs(np.arange(len(LAYERS)) - home)
        molecular[free[nearest[rng.choice(compact)]]] = rng.choice(np.flatnonzero(others >= FAR))
    return molecular


def _smooth_field(
    s: Float[np.ndarray, "n_obs 2"], n_fields: int, rng: np.random.Generator
) -> Float[np.ndarray, "n_obs n_fields"]:
    """Random fields whose covariance is exp(-d^2 / 2), as sums of waves."""
    frequency = rng.normal(size=(n_fields, WAVES, 2))
    phase = rng.uniform(0, 2 * np.pi, (n_fields, WAVES))
    waves = np.cos(np.einsum("nx,fwx->nfw", s, frequency) + phase)
    return waves.sum(axis=-1) * np.sqrt(2 / WAVES)


def _expected(genes: _Genes, spots: _Spots, section: int) -> Float[np.ndarray, "n_obs n_vars"]:
    """Eqs. 2 and 3 for one section."""
    eta = genes.log_mean + genes.layer_profile[spots.molecular]  # (n_obs, n_vars)
    eta += spots.activity @ genes.loading + genes.section_effect[section]
    return expected_counts(eta, spots.library_size)  # eq. 3
