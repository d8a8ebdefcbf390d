"""Files of the layout of .h5ad, against NumPy and scipy.sparse.

Held against anndata 0.12 and 0.7 by hand when this was written, in an environment of its own: anndata pins pandas 2.
"""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest

from consilience.domains.tabular.annotated import INDEX, AnnotatedTable
from consilience.errors import ConsilienceError
from tests.unit.tabular_examples import annotated, contents, prepared

CELLS, GENES = 37, 11
NAMES = [f"gene {gene}" for gene in range(GENES)]


@pytest.fixture
def matrix():
    random = np.random.default_rng(0)
    dense = random.poisson(0.7, (CELLS, GENES)) * random.gamma(2, 1, (CELLS, GENES))
    dense[4], dense[:, 3] = 0, 0
    return dense


def obs():
    random = np.random.default_rng(1)
    return {
        "y": pd.Categorical(random.choice(["T", "B", "NK"], CELLS)),
        "donor": np.array([f"donor {row // 4}" for row in range(CELLS)], dtype=object),
        "age": random.normal(50, 5, CELLS),
        "sick": random.random(CELLS) > 0.5,
    }


def whole(table, numbers, texts=(), memory=2**20):
    blocks = list(table.blocks(numbers, texts, memory))
    assert [block.first for block in blocks] == np.cumsum([0, *map(len, blocks)])[:-1].tolist()
    joined = {name: [text for block in blocks for text in block.texts[name].to_pylist()] for name in texts}
    return np.concatenate([block.numbers for block in blocks]), joined, len(blocks)


@pytest.mark.parametrize("encoding", ["array", "csr", "csc"])
@pytest.mark.parametrize("layer", [None, "counts"])
@pytest.mark.parametrize("memory", [1, 8 * GENES * 5, 2**20])
def test_a_matrix_is_read_whatever_its_form_and_the_block(tmp_path, matrix, encoding, layer, memory):
    held = obs()
    table = AnnotatedTable(annotated(tmp_path, matrix, held, NAMES, encoding, layer), layer, tmp_path)
    assert table.inputs == NAMES
    order = [NAMES[7], "age", NAMES[0], NAMES[3]]
    numbers, texts, blocks = whole(table, order, ["y", "donor", "sick", INDEX], memory)
    assert blocks == {1: CELLS, 8 * GENES * 5: 8, 2**20: 1}[memory]
    assert np.array_equal(numbers, np.column_stack([matrix[:, 7], held["age"], matrix[:, 0], matrix[:, 3]]))
    assert texts["y"] == list(held["y"])
    assert texts["donor"] == list(held["donor"])
    assert texts["sick"] == [str(value).lower() for value in held["sick"].tolist()]
    assert texts[INDEX] == [f"cell {row}" for row in range(CELLS)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.h5ad"]


def test_encodings_of_obs(tmp_path, matrix):
    path = annotated(tmp_path, matrix, {"y": pd.Categorical(["a", None] + ["b"] * (CELLS - 2))}, NAMES)
    with h5py.File(path, "a") as file:
        table = file["obs"]
        for name, kind, values in (
            ("whole", "integer", np.arange(CELLS)),
            ("truth", "boolean", np.arange(CELLS) % 2 > 0),
        ):
            group = table.create_group(name)
            group.attrs["encoding-type"] = f"nullable-{kind}"
            group["values"], group["mask"] = values, np.arange(CELLS) == 2
        codes = table.create_group("cluster")
        codes.attrs["encoding-type"] = "categorical"
        codes["codes"], codes["categories"] = np.arange(CELLS) % 3 - 1, np.array([10, 20])
        # Categories as anndata 0.7 kept them.
        table["older"] = np.arange(CELLS, dtype=np.int8) % 2
        table["__categories/older"] = np.array(["low", "high"], dtype=object)
        table["older"].attrs["categories"] = table["__categories/older"].ref
        table["plane"] = np.zeros((CELLS, 2))
        table.attrs["column-order"] = ["y", "whole", "truth", "cluster", "older", "plane"]
    found = AnnotatedTable(path, None, tmp_path)
    kinds = {name: column.kind for name, column in found.columns.items() if name not in (*NAMES, INDEX)}
    assert kinds == {
        "y": "text",
        "whole": "number",
        "truth": "text",
        "cluster": "text",
        "older": "text",
        "plane": "float64",
    }
    numbers, texts, _ = whole(found, ["whole"], ["y", "truth", "cluster", "older"])
    assert np.array_equal(numbers[:4, 0], [0, 1, np.nan, 3], equal_nan=True)
    assert texts["y"][:3] == ["a", None, "b"]
    assert texts["truth"][:4] == ["false", "true", None, "true"]
    assert texts["cluster"][:4] == [None, "10", "20", None]
    assert texts["older"][:2] == ["low", "high"]


def test_the_layout_of_anndata_0_6(tmp_path, matrix):
    path = tmp_path / "cells.h5ad"
    rows = np.array([(b"c%d" % row, row % 2, row / 2) for row in range(CELLS)],
                    dtype=[("index", "S5"), ("y", "i1"), ("age", "f8")])  # fmt: skip
    with h5py.File(path, "w") as file:
        file["obs"], file["uns/y_categories"] = rows, np.array([b"low", b"high"])
        file["var"] = np.array([(name.encode(),) for name in NAMES], dtype=[("index", "S9")])
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", matrix.shape
        present = matrix != 0
        group["data"], group["indices"] = matrix[present], np.nonzero(present)[1]
        group["indptr"] = np.concatenate([[0], present.sum(axis=1).cumsum()])
    numbers, texts, _ = whole(AnnotatedTable(path, None, tmp_path), [*NAMES, "age"], ["y", INDEX])
    assert np.array_equal(numbers, np.column_stack([matrix, np.arange(CELLS) / 2]))
    assert texts["y"][:2] == ["low", "high"]
    assert texts[INDEX][-1] == f"c{CELLS - 1}"


def test_cells_become_a_dataset(tmp_path, matrix):
    path = annotated(tmp_path, matrix, obs(), NAMES, "csc")
    audit, dataset = prepared(path, split={"group": "donor"}, classes=["T", "B"])
    names, inputs, target, samples, classes = contents(dataset)
    kept = np.isin(obs()["y"], ["T", "B"])
    assert names == [name for name in NAMES if name != NAMES[3]]
    assert np.array_equal(inputs, np.delete(matrix[kept], 3, axis=1).astype(np.float32))
    assert classes == ["T", "B"]
    assert [classes[label] for label in target] == list(obs()["y"][kept])
    assert samples["id"].tolist() == [f"cell {row}" for row in np.flatnonzero(kept)]
    assert samples["donor"].tolist() == list(obs()["donor"][kept])
    assert audit.set_index("step").loc["dataset", "note"] == "scaling: feature"


def test_a_gene_may_be_the_target_and_columns_of_obs_inputs(tmp_path, matrix):
    path = annotated(tmp_path, matrix + np.random.default_rng(3).random(matrix.shape), obs(), NAMES)
    _, dataset = prepared(path, target="gene 2")
    names, _, target, _, _ = contents(dataset)
    with h5py.File(path) as file:
        assert "gene 2" not in names
        assert len(names) == GENES - 1
        assert target[0] == file["X/data"][2]
    audit, dataset = prepared(path, features=["gene 5", "age", "sick"])
    assert contents(dataset)[0] == ["gene 5", "age", "sick = true"]
    assert audit.set_index("step").loc["dataset", "note"] == "scaling: column"


def test_a_name_of_both_var_and_obs_is_that_of_obs(tmp_path, matrix):
    held = obs() | {"gene 1": np.arange(CELLS) / 2 + np.arange(CELLS) % 5}
    audit, dataset = prepared(annotated(tmp_path, matrix, held, NAMES))
    assert "gene 1" not in contents(dataset)[0]
    assert audit.loc[0, "note"] == "no inputs, as obs has them too: gene 1"


def edit(path, change):
    with h5py.File(path, "a") as file:
        change(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("obs"), "cells.h5ad: no obs; expected an .h5ad file, with X, obs and var"),
        (lambda file: file.__delitem__("X"), "cells.h5ad: no X; expected an .h5ad file with a matrix$"),
        (lambda file: file["X"].attrs.modify("encoding-type", "coo_matrix"), "cells.h5ad: X: coo of shape .*expected a"),
        (lambda file: file["X"].attrs.modify("shape", (9, GENES)), rf"shape \(9, 11\); expected \({CELLS}, {GENES}\)"),
        (lambda file: file["X/indices"].write_direct(np.array([99, *file["X/indices"][1:]])), "X: indices from 0 to 99; expected 0 to 10"),
        (lambda file: file["X/indptr"].write_direct(np.array([1, *file["X/indptr"][1:]])), f"X: indptr of {CELLS + 1} entries"),
        (lambda file: file["obs/y/codes"].write_direct(np.array([7, *file["obs/y/codes"][1:]])), "obs/y: codes from 0 to 7; expected -1 to 2"),
        (lambda file: file["var/symbol"].write_direct(np.array(["a", "a", *NAMES[2:]], dtype=object)), r"1 names of var repeat \(a\)"),
        (lambda file: file["var/symbol"].write_direct(np.array(["a\nb", *NAMES[1:]], dtype=object)), r"name of var 1: the name 'a\\nb' holds a line break"),
        (lambda file: file["obs"].attrs.modify("_index", "none"), "obs has no index 'none'"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_told_what_it_lacks(tmp_path, matrix, change, message):
    path = annotated(tmp_path, matrix, obs(), NAMES)
    edit(path, change)
    with pytest.raises(ConsilienceError, match=message):
        prepared(path)
    assert not (tmp_path / "dataset.h5").exists()


def test_a_layer_that_is_not_there_offers_the_nearest(tmp_path, matrix):
    path = annotated(tmp_path, matrix, obs(), NAMES, layer="counts")
    with pytest.raises(ConsilienceError, match="source.layer: no layer 'count'; it has counts; nearest: counts"):
        prepared(path, source={"layer": "count"})
    with pytest.raises(ConsilienceError, match="no X; .*source.layer may be one of counts"):
        prepared(path)
    with pytest.raises(ConsilienceError, match="categorical: 'gene 1' is of the matrix; expected a column of obs"):
        prepared(path, source={"layer": "counts"}, categorical=["gene 1"])


def test_a_value_that_is_missing_in_x_is_found(tmp_path, matrix):
    matrix[8, 2] = np.nan
    path = annotated(tmp_path, matrix, obs(), NAMES, "csc")
    with pytest.raises(ConsilienceError, match=r"row 9, column gene 2: no value \(1 in 1 columns: gene 2 1\)"):
        prepared(path)
