import gzip
import json

import h5py
import numpy as np
import pandas as pd
import pytest
from ingestion.folders import real_cohort
from PIL import Image
from scipy import io, sparse

from synthome.errors import InputError
from synthome.ingestion.tissue import validate_tissue
from synthome.ingestion.tissue_config import TissueConfig
from synthome.ingestion.tissue_file import read_tissue
from synthome.ingestion.visium import COLUMNS, read_visium

N_OBS, N_VARS = 12, 6


def counts(seed=0) -> np.ndarray:
    dense = np.random.default_rng(seed).poisson(1.0, (N_OBS, N_VARS))
    dense[:, 0] += 1
    return dense


def features(n=N_VARS) -> pd.DataFrame:
    """Genes, of which two have one symbol."""
    symbols = [f"GENE{j}" for j in range(n)]
    symbols[1] = "GENE0"
    ids = [f"ENSG{j:011d}" for j in range(n)]
    return pd.DataFrame({"id": ids, "name": symbols, "feature_type": "Gene Expression"})


def places(barcodes) -> pd.DataFrame:
    """In tissue are the spots of the matrix; three more are beside it."""
    every = [*barcodes, "OUT-1", "OUT-2", "OUT-3"]
    i = np.arange(len(every))
    values = [every, (i < len(barcodes)).astype(int), i // 4, i % 4, i // 4 * 100, i % 4 * 200 + 7]
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True))).sample(frac=1, random_state=0)


def write_h5(path, dense, barcodes, table) -> None:
    by_column = sparse.csc_matrix(dense.T)  # features x barcodes, as Cell Ranger has it
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["data"] = by_column.data.astype(np.int32)
        group["indices"] = by_column.indices.astype(np.int64)
        group["indptr"] = by_column.indptr.astype(np.int64)
        group["shape"] = np.array(by_column.shape, dtype=np.int32)
        group["barcodes"] = np.array(barcodes, dtype="S")
        for name in table:
            group[f"features/{name}"] = np.array(table[name], dtype="S")


def write_mtx(folder, dense, barcodes, table) -> None:
    folder.mkdir()
    with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(dense.T))
    table.to_csv(folder / "features.tsv.gz", sep="\t", header=False, index=False)
    pd.Series(barcodes).to_csv(folder / "barcodes.tsv.gz", header=False, index=False)


def write_outs(outs, seed=0, matrix="h5", positions="tissue_positions.csv", images=("hires",)):
    """What Space Ranger writes, fabricated."""
    spatial = outs / "spatial"
    spatial.mkdir(parents=True)
    barcodes = [f"ACGT{i:02d}-1" for i in range(N_OBS)]
    write = {"h5": write_h5, "mtx": write_mtx}[matrix]
    suffix = ".h5" if matrix == "h5" else ""
    table = features()
    write(outs / f"filtered_feature_bc_matrix{suffix}", counts(seed), barcodes, table)
    sheet = places(barcodes)
    if positions.endswith(".parquet"):
        sheet.to_parquet(spatial / positions, index=False)
    else:
        sheet.to_csv(spatial / positions, index=False, header="list" not in positions)
    picture = np.zeros((40, 80, 3), dtype=np.uint8)
    picture[5, 70] = [200, 10, 20]
    for resolution in images:
        Image.fromarray(picture).save(spatial / f"tissue_{resolution}_image.png")
    factors = {"tissue_hires_scalef": 0.1, "tissue_lowres_scalef": 0.1, "spot_diameter_fullres": 55}
    (spatial / "scalefactors_json.json").write_text(json.dumps(factors))
    return outs


@pytest.mark.parametrize("matrix", ["h5", "mtx"])
@pytest.mark.parametrize(
    "positions",
    ["tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet"],
)
def test_every_form_of_the_output_gives_the_same_slice(tmp_path, matrix, positions):
    adata = read_visium(write_outs(tmp_path / "P1" / "outs", matrix=matrix, positions=positions))
    np.testing.assert_array_equal(adata.X.toarray(), counts())
    assert adata.obs_names[3] == "ACGT03-1"
    assert set(adata.obs["section"]) == {"P1"}
    np.testing.assert_array_equal(adata.obsm["spatial"][5], [1 * 200 + 7, 1 * 100])  # x is a column
    assert adata.obs.loc["ACGT05-1", ["array_row", "array_col"]].tolist() == [1, 1]
    image = adata.uns["spatial"]["P1"]["images"]["hires"]
    assert image.shape == (40, 80, 3)
    assert image[5, 70].tolist() == [200, 10, 20]
    assert adata.uns["spatial"]["P1"]["scalefactors"]["tissue_hires_scalef"] == 0.1
    assert adata.var["gene_id"].tolist()[1] == "ENSG00000000001"
    assert adata.var_names.is_unique
    facts = adata.uns["synthome"]
    assert facts["source"] == "P1"
    assert f"spatial/{positions}" in facts["files"]
    assert len(facts["sha256"]) == 64


def test_a_slice_validates_and_genes_of_one_symbol_are_summed(tmp_path):
    adata, report = validate_tissue(read_visium(write_outs(tmp_path / "P1")), TissueConfig())
    assert adata.n_vars == N_VARS - 1
    np.testing.assert_array_equal(
        adata[:, "GENE0"].X.toarray()[:, 0], counts()[:, 0] + counts()[:, 1]
    )
    assert report["images"] == {"P1": {"hires": [40, 80, 3]}}
    assert report["label"] == "tissue"


def test_the_folder_may_contain_outs_or_several_sections(tmp_path):
    write_outs(tmp_path / "A" / "outs", seed=1)
    write_outs(tmp_path / "B", seed=2)
    (tmp_path / "notes").mkdir()
    assert set(read_visium(tmp_path / "A").obs["section"]) == {"A"}
    both = read_visium(tmp_path)
    assert both.obs["section"].value_counts().to_dict() == {"A": N_OBS, "B": N_OBS}
    assert both.obs_names[N_OBS] == "B_ACGT00-1"
    np.testing.assert_array_equal(both.X.toarray(), np.concatenate([counts(1), counts(2)]))
    assert set(both.uns["spatial"]) == {"A", "B"}
    assert "B/filtered_feature_bc_matrix.h5" in both.uns["synthome"]["files"]
    adata, _ = validate_tissue(both, TissueConfig())
    assert adata.n_obs == 2 * N_OBS


def test_sections_of_other_genes_keep_those_they_share(tmp_path):
    write_outs(tmp_path / "A", seed=1)
    outs = write_outs(tmp_path / "B", seed=2)
    order = [3, 0, 4, 1, 2]  # without the last, and shuffled
    barcodes = [f"ACGT{i:02d}-1" for i in range(N_OBS)]
    path = outs / "filtered_feature_bc_matrix.h5"
    write_h5(path, counts(2)[:, order], barcodes, features().iloc[order])
    both = read_visium(tmp_path)
    np.testing.assert_array_equal(both.X.toarray()[N_OBS:], counts(2)[:, :5])
    assert "5 genes that all slices have are kept, of up to 6" in both.uns["synthome"]["reading"]
    other = features().assign(id=[f"ENSMUSG{j:011d}" for j in range(N_VARS)])
    write_h5(path, counts(2), barcodes, other)
    with pytest.raises(InputError, match="no gene id in common"):
        read_visium(tmp_path)


def test_spots_outside_of_tissue_are_left_out_of_counts_and_places(tmp_path):
    outs = write_outs(tmp_path / "P1")
    sheet = places([f"ACGT{i:02d}-1" for i in range(N_OBS)])
    sheet.loc[sheet["barcode"] == "ACGT02-1", "in_tissue"] = 0
    sheet.to_csv(outs / "spatial" / "tissue_positions.csv", index=False)
    adata = read_visium(outs)
    kept = np.setdiff1d(np.arange(N_OBS), [2])
    np.testing.assert_array_equal(adata.X.toarray(), counts()[kept])
    assert "1 spot of P1 outside of tissue left out" in adata.uns["synthome"]["reading"]
    sheet["in_tissue"] = 0
    sheet.to_csv(outs / "spatial" / "tissue_positions.csv", index=False)
    with pytest.raises(InputError, match="none of the 12 spots is in tissue"):
        read_visium(outs)


def test_barcodes_without_a_place_are_an_error_and_places_without_counts_are_told(tmp_path):
    outs = write_outs(tmp_path / "P1")
    sheet = places([f"ACGT{i:02d}-1" for i in range(N_OBS)])
    path = outs / "spatial" / "tissue_positions.csv"
    sheet[~sheet["barcode"].isin(["ACGT04-1", "ACGT09-1"])].to_csv(path, index=False)
    message = r"lacks 2 of the 12 barcodes of the counts, the first being 'ACGT04-1'"
    with pytest.raises(InputError, match=message):
        read_visium(outs)
    sheet["in_tissue"] = 1
    sheet.to_csv(path, index=False)
    reading = read_visium(outs).uns["synthome"]["reading"]
    assert "3 spots of P1 in tissue without counts left out" in reading
    pd.concat([sheet, sheet.iloc[:1]]).to_csv(path, index=False)
    with pytest.raises(InputError, match="1 barcode more than once"):
        read_visium(outs)


def test_either_image_may_be_absent_and_both(tmp_path):
    lowres = read_visium(write_outs(tmp_path / "A", images=("lowres",)))
    assert set(lowres.uns["spatial"]["A"]["images"]) == {"lowres"}
    none = read_visium(write_outs(tmp_path / "B", images=()))
    assert none.uns["spatial"]["B"]["images"] == {}
    assert "no image of B" in none.uns["synthome"]["reading"]
    _, report = validate_tissue(none, TissueConfig())
    assert report["images"] == {"B": {}}


def test_antibodies_are_left_out(tmp_path):
    outs = write_outs(tmp_path / "P1")
    table = features()
    table.loc[4, "feature_type"] = "Antibody Capture"
    path = outs / "filtered_feature_bc_matrix.h5"
    write_h5(path, counts(), [f"ACGT{i:02d}-1" for i in range(N_OBS)], table)
    adata = read_visium(outs)
    np.testing.assert_array_equal(adata.X.toarray(), counts()[:, [0, 1, 2, 3, 5]])
    assert "1 feature left out: Antibody Capture" in adata.uns["synthome"]["reading"]


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "no matrix": (lambda o: (o / "filtered_feature_bc_matrix.h5").unlink(), "no output of Space"),
    "cut matrix": (
        lambda o: cut(o / "filtered_feature_bc_matrix.h5"),
        "be read as a matrix",
    ),
    "no positions": (
        lambda o: (o / "spatial/tissue_positions.csv").unlink(),
        "has none of tissue_positions.csv, tissue_positions_list.csv",
    ),
    "other positions": (
        lambda o: (o / "spatial/tissue_positions.csv").write_text("barcode,x\na,1\n"),
        "is no table of positions",
    ),
    "no factors": (lambda o: (o / "spatial/scalefactors_json.json").unlink(), "without scale fac"),
    "cut factors": (lambda o: cut(o / "spatial/scalefactors_json.json"), "is not the JSON"),
    "cut image": (lambda o: cut(o / "spatial/tissue_hires_image.png"), "not a readable image"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_output_is_told_with_its_file(tmp_path, kind):
    outs = write_outs(tmp_path / "P1" / "outs")
    break_it, message = BROKEN[kind]
    break_it(outs)
    with pytest.raises(InputError, match=message):
        read_visium(tmp_path / "P1")


def test_an_old_or_foreign_matrix_is_told(tmp_path):
    outs = write_outs(tmp_path / "P1")
    with h5py.File(outs / "filtered_feature_bc_matrix.h5", "w") as file:
        file.create_group("GRCh38")
    with pytest.raises(InputError, match=r"no group 'matrix' \(it holds GRCh38\)"):
        read_visium(outs)
    outs = write_outs(tmp_path / "P2", matrix="mtx")
    (outs / "filtered_feature_bc_matrix" / "barcodes.tsv.gz").unlink()
    with pytest.raises(InputError, match=r"has no barcodes.tsv.gz; it holds features"):
        read_visium(outs)
    with gzip.open(outs / "filtered_feature_bc_matrix" / "barcodes.tsv.gz", "wt") as file:
        file.write("ACGT00-1\n")
    with pytest.raises(InputError, match=r"is of 12 barcodes and 6 features, .* there are 1 and 6"):
        read_visium(outs)


def test_a_real_slice_comes_back_from_the_files_of_space_ranger(tmp_path):
    """The slice 151673, written as Space Ranger does, against the file it came from."""
    real = read_tissue(real_cohort("dlpfc_151673") / "dlpfc_151673.h5ad")[:, :200].copy()
    entry = real.uns["spatial"]["151673"]
    outs = tmp_path / "151673" / "outs"
    (outs / "spatial").mkdir(parents=True)
    ids = [f"ENSG{j:011d}" for j in range(real.n_vars)]
    genes = {"id": ids, "name": real.var_names, "feature_type": "Gene Expression"}
    path = outs / "filtered_feature_bc_matrix.h5"
    write_h5(path, real.X.toarray(), real.obs_names, pd.DataFrame(genes))
    sheet = real.obs[["in_tissue", "array_row", "array_col"]].assign(
        row=real.obsm["spatial"][:, 1], column=real.obsm["spatial"][:, 0]
    )
    sheet.to_csv(outs / "spatial" / "tissue_positions_list.csv", header=False)
    picture = Image.fromarray(entry["images"]["lowres"])
    picture.save(outs / "spatial" / "tissue_lowres_image.png")
    factors = {key: float(value) for key, value in entry["scalefactors"].items()}
    (outs / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
    adata, _ = validate_tissue(read_visium(outs), TissueConfig())
    expected = real[adata.obs_names]
    assert adata.n_obs == int((real.X.sum(axis=1) > 0).sum())
    assert (adata.X != expected.X).nnz == 0
    np.testing.assert_array_equal(adata.obsm["spatial"], expected.obsm["spatial"])
    image = adata.uns["spatial"]["151673"]["images"]["lowres"]
    np.testing.assert_array_equal(image, entry["images"]["lowres"])


def test_a_folder_that_is_not_there_is_told_by_the_name_of_its_parameter(tmp_path):
    with pytest.raises(InputError, match="Check visium_dir;"):
        read_visium(tmp_path / "nowhere")
