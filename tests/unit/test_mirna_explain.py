"""The slice's methods against loops over texts and against captum; references that are sequences shuffled."""

import copy
import statistics

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam
from torch import nn

from consilience.attribution.api import Explainer
from consilience.attribution.explain import batch_reader
from consilience.attribution.methods import METHODS, Own, method_named
from consilience.attribution.targets import TrueClass
from consilience.configuration import own_methods, slice_schema
from consilience.dataset import Dataset
from consilience.domains.mirna import explain
from consilience.domains.mirna.prepare import prepare
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import TargetOf, drawn, finish
from tests.unit.mirna_examples import (
    BRANCHES,
    CENTERS,
    COLUMNS,
    DOUBLE,
    PAIRS,
    SCALES,
    TINY,
    batch_of_pairs,
    counted,
    drawn_sequence,
    image_of,
    inputs_of,
    log_odds,
    neighbors,
    network,
    pairs_table,
    slow_effects,
    slowly_spread,
    valid_kmers,
    walked,
)

K = 3
OWN = Own.of(explain, own_methods("mirna"))
OTHERS = [("TTAACCGGTTAACGATCG", "ACGTTTGACCAGTCA"), ("GGGACCCATT", "TTGACCAGTTTACAG"), ("CATCATTTACG", "GATTACACCA")]
NEED_SEQUENCES = {
    *("mutagenesis", "mutation_smoothgrad", "normalized_integrated_gradients", "filtered_integrated_gradients")
}


@pytest.fixture(scope="module")
def modules():
    return [network(K, seed, DOUBLE, **TINY) for seed in (0, 1)]


def batch(modules, **parts):
    """Pairs beside images of other sequences as references."""
    return batch_of_pairs(modules, **{"references": inputs_of(OTHERS, K), **parts})


def attribute(given, name, **settings):
    return given.attribute(method_named(name, OWN), settings)


def largest(tensors):
    return max(float(part.abs().max()) for part in tensors)


def test_the_schema_tells_the_methods_and_references_that_explain_has():
    schema = slice_schema("mirna")
    assert set(schema["methods"]) == set(explain.methods)
    attribution = schema["properties"]["attribution"]["properties"]
    assert attribution["reference"]["enum"] == [attribution["reference"]["default"]] == list(explain.references)
    known = {*METHODS, *explain.methods}
    assert set(attribution["methods"]["default"]) <= known
    assert attribution["primary"]["default"] in attribution["methods"]["default"]


@pytest.mark.parametrize("internal_batch", [4, 512])
def test_mutagenesis_is_a_loop_over_letters(modules, internal_batch):
    found = attribute(batch(modules), "mutagenesis", internal_batch=internal_batch)
    assert {part.dtype for part in found} == {DOUBLE}
    for branch, part in enumerate(found):
        for member, module in enumerate(modules):
            for sample, pair in enumerate(PAIRS):
                effects = [fall or 0.0 for fall in slow_effects(module, pair, branch, K)]
                expected = slowly_spread(effects, pair[branch], K)
                np.testing.assert_allclose(part[member, 0, sample], expected, atol=1e-6)
                assert float(part[member, 0, sample].sum()) == pytest.approx(sum(effects), abs=1e-5)
    assert largest(found) > 0.01


def slow_mutants(sequence, key, branch, draws, rate):
    """Copies with letters replaced; what is drawn, and in which order, is the library's."""
    random = np.random.default_rng([key, branch])
    for _ in range(draws):
        chances, steps = random.random(len(sequence)), random.integers(1, 4, len(sequence))
        letters = [
            "ACGT"[("ACGT".index(letter) + step) % 4] if letter != "N" and chance < rate else letter
            for letter, chance, step in zip(sequence, chances, steps, strict=True)
        ]
        yield "".join(letters)


def test_mutation_smoothgrad_is_the_mean_gradient_over_mutants(modules):
    given = batch(modules)
    found = attribute(given, "mutation_smoothgrad", draws=4, noise=0.2)
    for member, module in enumerate(modules):
        for sample, pair in enumerate(PAIRS):
            expected = [np.zeros((8, 8)), np.zeros((8, 8))]
            copies = (slow_mutants(one, given.keys[sample], place, 4, 0.2) for place, one in enumerate(pair))
            for mutant in zip(*copies, strict=True):
                leaves = [part.requires_grad_() for part in inputs_of([mutant], K)]
                outputs = module(*leaves)[0]
                for total, slope in zip(expected, torch.autograd.grad(outputs[1] - outputs[0], leaves), strict=True):
                    total += slope[0].numpy() / 4
            for branch in range(2):
                np.testing.assert_allclose(
                    found[branch][member, 0, sample], expected[branch], atol=1e-6 * largest(found)
                )


def test_without_mutations_it_is_the_gradient(modules):
    given = batch(modules)
    found = attribute(given, "mutation_smoothgrad", draws=2, noise=1e-12)
    for own, gradient in zip(found, given.values_and_gradients[1], strict=True):
        torch.testing.assert_close(own, gradient, rtol=1e-6, atol=1e-6)


class OnTheSimplex(nn.Module):
    """A target of images moved to the plane on which they sum to 1: where they are already, it changes nothing."""

    def __init__(self, target):
        super().__init__()
        self.target = target

    def forward(self, *images):
        sums = [(1 / 4**K - center) / scale for center, scale in zip(CENTERS, SCALES, strict=True)]
        moved = [image - image.mean(dim=(1, 2), keepdim=True) + mean for image, mean in zip(images, sums, strict=True)]
        return self.target(*moved)


def test_tangent_integrated_gradients_are_captums_on_the_simplex(modules):
    given = batch(modules)
    # The same quadrature: such networks are too deep to be integrated from bend to bend.
    found = attribute(given, "tangent_integrated_gradients", steps=30)
    plain = attribute(given, "integrated_gradients", steps=30)
    assert largest(one - other for one, other in zip(found, plain, strict=True)) > 0.02 * largest(plain)
    for member, module in enumerate(modules):
        target = OnTheSimplex(TargetOf(module, given, 0)).eval()
        expected = IntegratedGradients(target).attribute(
            given.inputs, given.references, n_steps=30, method="gausslegendre"
        )
        for own, other in zip(found, expected, strict=True):
            torch.testing.assert_close(own[member, 0], other, rtol=0, atol=1e-8)


def test_tangent_integrated_gradients_are_as_complete_as_the_plain_ones(modules):
    given = batch(modules)
    sums = []
    for name in ("integrated_gradients", "tangent_integrated_gradients"):
        found = attribute(given, name, steps=200)
        gap, change = given.gap(method_named(name, OWN), found)
        assert change.max() > 0.1
        # What is left is the quadrature of a function with kinks.
        assert gap.max() < 2e-2 * change.max()
        sums.append(sum(part.sum(dim=(-2, -1)) for part in found))
    torch.testing.assert_close(*sums, rtol=0, atol=1e-6)


def test_normalized_and_filtered_integrated_gradients_correct_them_by_what_sequences_hold(modules):
    given = batch(modules)
    plain = attribute(given, "integrated_gradients")
    normalized, filtered = (attribute(given, f"{name}_integrated_gradients") for name in ("normalized", "filtered"))
    for branch in range(2):
        for member, sample in np.ndindex(2, 3):
            sequence, values = PAIRS[sample][branch], plain[branch][member, 0, sample].numpy()
            times, kmers = counted(sequence, K), dict(valid_kmers(sequence, K))
            np.testing.assert_allclose(
                normalized[branch][member, 0, sample], np.where(times > 0, values / np.maximum(times, 1), 0), atol=1e-12
            )
            expected = np.zeros((8, 8))
            shares = {start: values[walked(kmer)] / times[walked(kmer)] for start, kmer in kmers.items()}
            for start, kmer in kmers.items():
                near = [shares[place] for place in (start - 1, start, start + 1) if place in shares]
                expected[walked(kmer)] += statistics.median(near)
            np.testing.assert_allclose(filtered[branch][member, 0, sample], expected, atol=1e-12)


def test_the_path_is_gone_once_for_all_corrections(modules, monkeypatch):
    calls, path = [], explain.path_gradients
    monkeypatch.setattr(explain, "path_gradients", lambda *given: calls.append(1) or path(*given))
    given = batch(modules)
    first = [attribute(given, f"{name}_integrated_gradients") for name in ("tangent", "normalized", "filtered")]
    assert calls == [1]
    again = [
        attribute(batch(modules), f"{name}_integrated_gradients") for name in ("filtered", "normalized", "tangent")
    ]
    for own, other in zip(first, reversed(again), strict=True):
        for part, same in zip(own, other, strict=True):
            assert torch.equal(part, same), "no correction changes what the others read"


def test_what_corrections_share_is_of_one_reference_alone(modules):
    other = tuple(part.flip(0) for part in batch(modules).inputs)
    given, alone = batch(modules, others={"flipped": other}), batch(modules, references=other)
    attribute(given, "tangent_integrated_gradients")
    against = given.against("flipped")
    for own, part in zip(attribute(against, "tangent_integrated_gradients"),
                         attribute(alone, "tangent_integrated_gradients"), strict=True):  # fmt: skip
        assert torch.equal(own, part)


@pytest.mark.parametrize(("k", "changes"), [(3, {}), (4, {"step": 2}), (5, {"final_side": 8})])
def test_grad_cam_is_captums_of_each_branch(k, changes):
    modules = [network(k, seed, DOUBLE, **TINY, **changes) for seed in (0, 1)]
    pairs = [(one.replace("N", ""), other.replace("N", "")) for one, other in PAIRS]
    given = batch_of_pairs(modules, pairs, k)
    found = attribute(given, "grad_cam")
    for member, module in enumerate(modules):
        target = TargetOf(module, given, 0).eval()
        for branch, own in zip(BRANCHES, found, strict=True):
            layer = getattr(module, branch).third.activation
            maps = LayerGradCam(target, layer).attribute(given.inputs, relu_attributions=True)
            expected = LayerAttribution.interpolate(maps, (2**k, 2**k), "bilinear")[:, 0].detach()
            torch.testing.assert_close(own[member, 0], expected, rtol=0, atol=1e-9)
    assert min(float(part.max()) for part in found) > 1e-3
    assert all((part >= 0).all() for part in found)
    assert not torch.allclose(found[0], found[1], rtol=0.1), "each branch has its own"


def test_grad_cam_leaves_the_network_as_it_was(modules):
    given = batch(modules)
    before = copy.deepcopy(given.function.module.state_dict())
    attribute(given, "grad_cam")
    assert not any(part._forward_hooks for part in given.function.module.modules())
    assert all(torch.equal(values, before[name]) for name, values in given.function.module.state_dict().items())


@pytest.mark.parametrize("about", [None, pd.DataFrame({"site": ["ACGT"] * 3})], ids=["absent", "half"])
@pytest.mark.parametrize("name", sorted(explain.methods))
def test_methods_that_read_sequences_say_so(modules, name, about):
    given = batch(modules, about=about)
    if name not in NEED_SEQUENCES:
        expected = attribute(batch(modules), name)
        assert all(torch.equal(*pair) for pair in zip(attribute(given, name), expected, strict=True))
        return
    with pytest.raises(ConsilienceError, match="^this method reads sequences; give them as `about`") as caught:
        attribute(given, name)
    assert "\n" not in str(caught.value)


def mixed_table():
    """Pairs of many lengths, with N, in several spellings."""
    random = np.random.default_rng(11)
    table = pairs_table(14, seed=11, mirna=(15, 25), site=(20, 51))
    for row in (2, 5):
        table.loc[row, COLUMNS[1]] = (
            f"{drawn_sequence(random, 12)}NN{drawn_sequence(random, 5 + row, 'acgu')}N{drawn_sequence(random, 4)}"
        )
    table.loc[7, COLUMNS[0]] = "ACGTN" * 4
    return table


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A prepared study with an ensemble of two."""
    folder = tmp_path_factory.mktemp("mirna")
    mixed_table().to_csv(folder / "pairs.csv", index=False)
    source = {"kind": "csv", "path": str(folder / "pairs.csv")}
    prepare([folder / "pairs.csv"], {"k": K, "source": source}, folder / "dataset.h5", 0)
    names = [f"pair-{row:05d}" for row in range(1, 15)]
    split = pd.DataFrame({"sample": names, "group": names, "role": ["train"] * 8 + ["validation"] * 2 + ["test"] * 4})
    seeds = iter((3, 4))
    return finish(folder / "dataset.h5", split, "classification", 2, lambda: network(K, next(seeds), **TINY))


def reader_of(study, dataset, **settings):
    methods = [*OWN.methods.values(), METHODS["integrated_gradients"]]
    given = {
        "reference": "dinucleotide_shuffle",
        "draws": 3,
        "steps": 10,
        "methods": ["mutagenesis"],
        "primary": "mutagenesis",
    }
    own = OWN.complete(given | settings)
    return batch_reader(dataset, study.split, study.ensemble, study.module, methods, own, 0, own=OWN)


@pytest.mark.parametrize("name", sorted(explain.methods))
def test_neither_company_nor_order_changes_a_sample(study, name):
    rows = np.array([0, 2, 5, 7])
    with Dataset.open(study.path) as dataset:
        reader, small = reader_of(study, dataset), reader_of(study, dataset, internal_batch=3)
        method = method_named(name, OWN)
        together = reader.read(rows).attribute(method, reader.settings)
        turned = reader.read(rows[::-1].copy()).attribute(method, reader.settings)
        alone = [small.read(rows[place : place + 1]).attribute(method, small.settings) for place in range(len(rows))]
    for branch, part in enumerate(together):
        assert part.dtype == torch.float32
        size = float(part.abs().max())
        assert size > 0
        torch.testing.assert_close(turned[branch].flip(2), part, rtol=0, atol=2e-5 * size)
        torch.testing.assert_close(torch.cat([one[branch] for one in alone], dim=2), part, rtol=0, atol=2e-5 * size)


def test_what_is_read_from_a_dataset_is_what_sequences_say(study):
    """Scaling, sequences and weights are put together by the chain as by hand, sample by sample."""
    with Dataset.open(study.path) as dataset:
        reader = reader_of(study, dataset)
        rows = np.array([11, 2])
        given = reader.read(rows)
        (mirna, site), samples = given.attribute(method_named("mutagenesis", OWN), reader.settings), dataset.samples
    for member in range(2):
        module = given.function.member_module(member)

        def value(*pair, module=module):
            arrays = [image_of(sequence, K)[None] for sequence in pair]
            scalings = zip(arrays, study.ensemble.scalings.values(), strict=True)
            with torch.no_grad():
                outputs = module(*(torch.as_tensor((array - one.center) / one.scale) for array, one in scalings))[0]
            return float(outputs[1] - outputs[0])

        for place, row in enumerate(rows):
            pair = [samples[branch][row] for branch in BRANCHES]
            for branch, part in enumerate((mirna, site)):
                falls = []
                for position, letter in enumerate(pair[branch]):
                    mutants = [
                        pair[branch][:position] + other + pair[branch][position + 1 :]
                        for other in "ACGT"
                        if other != letter
                    ]
                    values = [value(*pair[:branch], mutant, *pair[branch + 1 :]) for mutant in mutants]
                    falls.append(0.0 if letter == "N" else value(*pair) - np.mean(values))
                expected = slowly_spread(falls, pair[branch], K)
                np.testing.assert_allclose(part[member, 0, place], expected, atol=1e-4 * np.abs(expected).max())


def test_the_python_api_takes_sequences_beside_images(modules):
    pairs = [PAIRS[0], PAIRS[2]]
    images = tuple(np.stack([image_of(pair[branch], K) for pair in pairs]) for branch in range(2))
    background = tuple(drawn(branch, 4, 8, 8, dtype=DOUBLE).abs() / 64 for branch in range(2))
    explainer = Explainer(modules, background, task="classification", outputs=["no pair", "pair"])
    about = pd.DataFrame(pairs, columns=list(BRANCHES))
    found = explainer.attribute(images, OWN.methods["mutagenesis"], about=about)
    expected = batch_of_pairs(modules, pairs, scaled=lambda place, array: torch.as_tensor(array).double())
    expected.inputs = tuple(torch.as_tensor(part).double() for part in images)
    for own, part in zip(found.arrays.values(), attribute(expected, "mutagenesis"), strict=True):
        np.testing.assert_allclose(own, part.mean(dim=0), atol=1e-9)
    with pytest.raises(ConsilienceError, match="give them as `about`"):
        explainer.attribute(images, OWN.methods["mutagenesis"])
    with pytest.raises(
        ConsilienceError, match="about: the mirna sequence of row 0 is not the one that its image shows"
    ):
        explainer.attribute(images, OWN.methods["mutagenesis"], about=about[::-1])


@pytest.mark.parametrize("name", [*OWN.methods, "integrated_gradients"])
def test_samples_of_several_classes_are_explained_as_each_alone(modules, name):
    """The batch of a class alone knows its own sequences, and shares no path with that of another."""
    images = tuple(np.stack([image_of(pair[branch], K) for pair in PAIRS]) for branch in range(2))
    background = tuple(drawn(branch, 4, 8, 8, dtype=DOUBLE).abs() / 64 for branch in range(2))
    explainer = Explainer(modules, background, task="classification", outputs=["no pair", "pair"])
    method = OWN.methods.get(name, name)
    labels = [place % 2 for place in range(len(PAIRS))]
    about = pd.DataFrame(PAIRS, columns=list(BRANCHES))
    together = explainer.attribute(images, method, target=TrueClass(labels), about=about, draws=2)
    for row, label in enumerate(labels):
        one = tuple(part[row : row + 1] for part in images)
        alone = explainer.attribute(one, method, target=TrueClass([label]), about=about.iloc[row : row + 1], draws=2)
        for branch in together.arrays:
            np.testing.assert_allclose(together.arrays[branch][:, row], alone.arrays[branch][:, 0], atol=1e-8)


def references(path, rows, seed=0):
    with Dataset.open(path) as dataset:
        return explain.dinucleotide_shuffle(dataset, np.asarray(rows), seed)


def test_shuffled_references_are_sequences_of_the_same_composition(study, monkeypatch):
    shuffles = []

    def spy(sequences, encode=explain.encode):
        shuffles.append(list(sequences))
        return encode(sequences)

    monkeypatch.setattr(explain, "encode", spy)
    rows = [5, 0, 7, 2, 13]
    images = references(study.path, rows)
    with Dataset.open(study.path) as dataset:
        samples, inputs = dataset.samples, {branch: dataset.inputs(branch)[rows] for branch in BRANCHES}
    for branch, own in zip(BRANCHES, shuffles, strict=True):
        found = images[branch]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-5)
        np.testing.assert_array_equal(found, np.stack([image_of(sequence, K) for sequence in own]))
        assert not np.allclose(found, inputs[branch])
        for sequence, shuffle in zip(samples[branch].iloc[rows], own, strict=True):
            assert len(valid_kmers(shuffle, K)) == len(valid_kmers(sequence, K))
            parts = zip(sequence.split("N"), shuffle.split("N"), strict=True)
            assert all(neighbors(one) == neighbors(other) and one[:1] == other[:1] for one, other in parts)


def test_shuffles_follow_ids_not_rows(study, tmp_path):
    rows = np.arange(14)
    first = references(study.path, rows)
    turned = references(study.path, rows[::-1])
    other = references(study.path, rows, seed=1)
    for branch in BRANCHES:
        np.testing.assert_array_equal(turned[branch][::-1], first[branch])
        np.testing.assert_array_equal(references(study.path, [4])[branch][0], first[branch][4])
        assert (other[branch] != first[branch]).any(axis=(1, 2)).sum() > 10


def test_one_pair_of_one_sequence_has_two_shuffles(tmp_path):
    """Samples that share a miRNA do not share its shuffle, nor do the branches of one pair."""
    sequence = "ACGGATTACCAGTTGACCGATTAGC"
    table = pd.DataFrame({COLUMNS[0]: sequence, COLUMNS[1]: [sequence, sequence + "A"], "validation": [0, 1]})
    table.to_csv(tmp_path / "pairs.csv", index=False)
    source = {"kind": "csv", "path": str(tmp_path / "pairs.csv")}
    prepare([tmp_path / "pairs.csv"], {"k": 5, "source": source}, tmp_path / "dataset.h5", 0)
    found = references(tmp_path / "dataset.h5", [0, 1])
    assert not np.array_equal(found["mirna"][0], found["mirna"][1])
    assert not np.array_equal(found["mirna"][0], found["site"][0])


def test_attributions_from_shuffles_sum_to_the_change(study):
    with Dataset.open(study.path) as dataset:
        reader = reader_of(study, dataset)
        given = reader.read(np.arange(14))
    for name in ("integrated_gradients", "tangent_integrated_gradients", "deeplift"):
        method = method_named(name, OWN)
        gap, change = given.gap(method, given.attribute(method, {**reader.settings, "steps": 200}))
        assert change.max() > 0.05
        assert gap.max() < (1e-4 if name == "deeplift" else 3e-2) * change.max(), name


def test_log_odds_of_the_examples_differ(modules):
    """Else the tests above would compare zeros."""
    for module in modules:
        assert np.std(log_odds(module, PAIRS, K)) > 0.02


def test_shaps_deep_explainer_and_deeplift_shap_agree_on_both_branches():
    """Max pools in both branches at once, which shap has a rule of its own for; that pool by 2 where the image is 16."""
    own = network(4, 0, DOUBLE, **TINY)
    background = tuple(drawn(branch, 5, 16, 16, dtype=DOUBLE) for branch in range(2))
    explainer = Explainer(own, background, task="classification", outputs=["no pair", "pair"])
    images = tuple(drawn(10 + branch, 3, 16, 16, dtype=DOUBLE) for branch in range(2))
    ours, theirs = (explainer.attribute(images, name) for name in ("deeplift_shap", "shap_deep_explainer"))
    for name, values in ours.arrays.items():
        np.testing.assert_allclose(values, theirs.arrays[name], atol=1e-5 * np.abs(values).max())
        assert np.abs(values).max() > 0
