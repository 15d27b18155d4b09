"""Nodes of ldvae: a trained model and prepared cells in, answers and figures out."""

from typing import Any

import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import SPLIT, provenance
from synthome.evaluation.conditional_shift import ConditionalShiftConfig
from synthome.evaluation.detection import DetectionConfig
from synthome.evaluation.reading import ReadingConfig
from synthome.evaluation.three_class import ThreeClassConfig
from synthome.models.registry import GeneratorSettings, from_state
from synthome.reporting import ldvae_words
from synthome.state_file import State

Document = dict[str, Any]
FIGURES = tuple(ldvae_words.FIGURES)


def measure(prepared: AnnData, weights: State) -> Document:
    """Likelihood of held-out cells under the model, and without latents."""
    from synthome.evaluation.reading import held_out_scores

    held_out = prepared[prepared.obs[SPLIT] == "test"].copy()
    return held_out_scores(from_state(weights).cell_scores(held_out))  # type: ignore[attr-defined]


def tell_apart(
    prepared: AnnData,
    weights: State,
    settings: GeneratorSettings,
    strict: ThreeClassConfig,
    published: ThreeClassConfig,
    reading: ReadingConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The experiment of three classes, strict and as published.

    As published, the model is fitted to the training rows of the experiment; under ``strict`` it
    saw no perturbed cell, unless ``refit`` asks for it.
    """
    from synthome.evaluation.latent_model import by_fitted, by_fitting
    from synthome.evaluation.reading import roles
    from synthome.evaluation.three_class import three_class

    genes = roles(prepared)
    fitting = by_fitting(lambda rows: settings.build().fit(rows))  # type: ignore[arg-type,return-value]
    fitted = by_fitted(from_state(weights))  # type: ignore[arg-type]
    found = [
        three_class(prepared, genes["down"], genes["up"], embed, config)
        for embed, config in ((fitting if reading.refit else fitted, strict), (fitting, published))
    ]
    return (
        pd.concat([each.accuracy for each in found], ignore_index=True),
        pd.concat(
            [
                each.confusion.assign(protocol=config.protocol)
                for each, config in zip(found, (strict, published), strict=True)
            ],
            ignore_index=True,
        ),
    )


def detect(
    prepared: AnnData, weights: State, config: DetectionConfig, reading: ReadingConfig
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Power at each dose and cell type, smallest detectable doses, false alarms."""
    from synthome.evaluation import detection
    from synthome.evaluation.latent_model import power_view
    from synthome.evaluation.reading import part, roles

    genes = roles(prepared)
    model: Any = from_state(weights)
    sets = {str(direction): of for direction, of in genes.items()}
    view = power_view(model, part(prepared, "train", reading.max_cells, reading.seed), sets)
    power = detection.detection_power(
        part(prepared, "test", reading.max_tested, reading.seed),
        {direction: detection.Perturbed(direction, of) for direction, of in genes.items()},
        view,
        config,
    )
    return power, detection.smallest_detectable_dose(power), detection.false_alarms(power)


def map_cells(prepared: AnnData, weights: State, reading: ReadingConfig) -> pd.DataFrame:
    """Held-out cells and their twins in the latent space, with Leiden clusters."""
    from synthome.evaluation.reading import cell_map

    return cell_map(from_state(weights), prepared, reading)  # type: ignore[arg-type]


def find_planted(prepared: AnnData, weights: State, reading: ReadingConfig) -> pd.DataFrame:
    """Average precision with which perturbed genes are found again."""
    from synthome.evaluation.reading import planted

    model: Any = from_state(weights)
    return planted(model, model.loadings, prepared, reading)


def read_loadings(
    prepared: AnnData, weights: State, settings: GeneratorSettings, reading: ReadingConfig
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Genes of each factor over several seeds, factors by perturbation, enriched gene sets."""
    from synthome.evaluation import reading as read
    from synthome.evaluation.parallel import in_order

    model: Any = from_state(weights)
    train = prepared[prepared.obs[SPLIT] == "train"].copy()

    def of_seed(seed: int) -> Any:
        return settings.build(seed).fit(train).loadings  # type: ignore[attr-defined]

    others = [(settings.seed + i,) for i in range(1, reading.n_seeds)]
    fits = [model.loadings, *in_order(of_seed, others, reading.n_jobs, "seeds")]
    return read.read_loadings(model, fits, prepared, reading)


def carry_over(
    prepared: AnnData, weights: State, reading: ReadingConfig, shift: ConditionalShiftConfig
) -> pd.DataFrame:
    """A change learnt in some cell types, predicted in another, beside the plain baselines."""
    from synthome.evaluation import reading as read

    return read.carry_over(from_state(weights), prepared, reading, shift)


def answer(
    prepared: AnnData,
    held_out: Document,
    accuracy: pd.DataFrame,
    confusion: pd.DataFrame,
    cells: pd.DataFrame,
    power: pd.DataFrame,
    smallest: pd.DataFrame,
    alarms: pd.DataFrame,
    planted: pd.DataFrame,
    loadings: pd.DataFrame,
    responses: pd.DataFrame,
    enrichment: pd.DataFrame,
    conditional: pd.DataFrame,
    gene_set_report: Document,
    reading: ReadingConfig,
) -> tuple[Document | bytes, ...]:
    """What the report says and shows of all this: the document of answers, then ``FIGURES``."""
    from synthome.evaluation.reading import roles
    from synthome.plotting.style import png_bytes
    from synthome.reporting.ldvae import LDVAEResults, ldvae_answers, ldvae_figures

    facts = provenance(prepared)
    results = LDVAEResults(
        held_out=held_out,
        accuracy=accuracy,
        confusion=confusion,
        cells=cells,
        power=power,
        smallest=smallest,
        alarms=alarms,
        planted=planted,
        loadings=loadings,
        responses=responses,
        enrichment=enrichment,
        conditional=conditional,
        genes={str(direction): of for direction, of in roles(prepared).items()},
        set_names={"down": str(facts["down_set"]), "up": str(facts["up_set"])},
        gene_sets=gene_set_report,
        dose=reading.dose,
        n_seeds=reading.n_seeds,
    )
    figures = ldvae_figures(results)
    return ldvae_answers(results).document(), *(png_bytes(figures[name]) for name in FIGURES)
