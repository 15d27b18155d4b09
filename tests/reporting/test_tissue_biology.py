import numpy as np
import pandas as pd
from tissue_tables import HELD_OUT, TRAJECTORY, domain_genes, integration, spatial_genes, spots

from synthome.reporting.tissue_biology import (
    domain_genes_answer,
    domain_genes_table,
    held_out_answer,
    held_out_table,
    integration_answer,
    spatial_genes_answer,
    trajectory_answer,
)


def test_genes_of_domains_are_counted_and_their_p_values_doubted():
    said = domain_genes_answer(domain_genes())
    assert said.startswith("2 of 3 domains have genes that are higher inside than outside")
    assert "domain 3 has none and may be no domain at all" in said
    assert "these p values are too small" in said
    found = domain_genes_table(domain_genes()).set_index("Domain")
    assert found.loc["1"].tolist() == ["2", "MBP (+2.10), PLP1 (+1.80)"]
    assert found.loc["3"].tolist() == ["0", "–"]


def test_a_gene_that_is_lower_inside_is_no_gene_of_the_domain():
    table = domain_genes()
    table.loc[table["domain"] == "2", "log2_fold_change"] = -1.5
    said = domain_genes_answer(table)
    assert "1 of 3 domains" in said
    assert "domains 2 and 3 have none and may be no domains at all" in said


def test_spatial_genes_are_told_for_the_tissue_and_within_domains():
    said = spatial_genes_answer(spatial_genes())
    assert "2 of 3 genes vary in space" in said
    assert "the strongest being MBP (0.81) and SNAP25 (0.62)" in said
    assert "Within single domains, 1 still does" in said
    none = spatial_genes()
    none.loc[none["domain"] == "2", "q_value"] = 0.5
    assert "Within single domains, none does" in spatial_genes_answer(none)


def test_the_order_of_domains_starts_at_the_root():
    table = spots(("a",), side=12)
    table["domain"] = table["refined"]
    said = trajectory_answer(TRAJECTORY, table)
    assert "From domain 1, the root" in said
    assert "in the order 1, 2, 3, 4, 5, 6." in said
    assert "Most strongly connected are 1–2 (0.80) and 2–3 (0.60)." in said


def test_what_the_order_leaves_open_is_said():
    table = spots(("a",), side=12)
    table.loc[:4, "pseudotime"] = np.nan
    said = trajectory_answer(TRAJECTORY | {"connectivities": []}, table)
    assert "5 spots are not connected to the root" in said
    assert "whether this is it is not known" in said
    assert "connected are" not in said
    other = TRAJECTORY | {"connectivities": [[0.0, 1.0], [1.0, 0.0]]}  # of other domains
    assert "connected are" not in trajectory_answer(other, table)
    for path, of in (({}, table), (TRAJECTORY, table.iloc[:0]), (TRAJECTORY | {"domains": ["1"]},
                                                                 table)):  # fmt: skip
        assert trajectory_answer(path, of).startswith("There is no order of domains")


def test_mixing_is_told_beside_principal_components():
    said = integration_answer(integration(), 2)
    assert "principal components 0.31 and latent 0.74" in said
    assert "the sections mix in part, more than in principal components" in said
    worse = integration().assign(mixing=[0.9, 0.2])
    assert "stay apart, no more than in principal components" in integration_answer(worse, 2)
    assert "There is one section" in integration_answer(pd.DataFrame(), 1)
    assert "was not measured" in integration_answer(pd.DataFrame(), 3)


def test_held_out_places_are_told_beside_no_latents():
    said = held_out_answer(HELD_OUT)
    assert "touch a spot" not in said
    rim = held_out_answer(HELD_OUT | {"n_beside_training": 1200})
    assert "Not scored are 1,200 spots that touch a spot of the training." in rim
    assert "230 spots in held-out blocks of the tissue better than no latents" in said
    assert "20 % of the counts are hidden from the encoder, it foretells them better" in said
    assert held_out_table(HELD_OUT)["Nats for each spot"].tolist() == [
        "801.5", "9.3", "860.2", "160.4", "170.9",
    ]  # fmt: skip


def test_latents_that_explain_nothing_are_called_so():
    said = held_out_answer(HELD_OUT | {"nll": 900.0, "elbo": -909.0, "count_nll": 180.0})
    assert "no better than no latents at all" in said
    assert "it foretells them no better" in said
    assert said.endswith("Nothing below should be built on its latents.")
    costly = held_out_answer(HELD_OUT | {"elbo": -900.0})
    assert "Counting what the latents themselves cost, it does not (900.0)." in costly
    assert held_out_table({"nll": float("nan")}) is None
    assert "was not measured" in held_out_answer({})
