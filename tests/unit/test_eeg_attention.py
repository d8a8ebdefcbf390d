"""Numbers of attention are those of scipy, NumPy and slow loops; what says nothing has none; bad weights are refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from consilience.domains import eeg
from consilience.domains.eeg.attention import (
    AttentionAnalyzer,
    agreements,
    compute_modality_alignment,
    extract_attention_statistics,
    head_wise_attention_analysis,
)
from consilience.domains.eeg.attention_weights import MODALITIES, checked
from consilience.domains.eeg.fusion import DIRECTIONS, CrossModalFusion
from consilience.errors import ConsilienceError
from tests.unit.eeg_attention_examples import drawn, masked_maps, slow_agreement

NUMBERS = ("mean", "std", "max", "min", "entropy", "sparsity")


def rows_of(weights, absent=None, absent_queries=None):
    """The weights on present keys of every present query, walked one by one."""
    for sample, head, query in np.ndindex(weights.shape[:3]):
        if absent_queries is None or not absent_queries[sample, query]:
            row = weights[sample, head, query]
            yield row if absent is None else row[~absent[sample]]


def slow_statistics(weights, absent=None, absent_queries=None):
    rows = list(rows_of(weights, absent, absent_queries))
    values = np.concatenate(rows)
    return {
        "mean": values.mean(),
        "std": np.std(values),
        "max": max(values),
        "min": min(values),
        "entropy": np.mean([entropy(row, base=len(row)) for row in rows]),
        "sparsity": 100 * np.mean(np.concatenate([row < 0.1 / len(row) for row in rows])),
    }


# Statistics


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_statistics_are_those_of_slow_loops(convert):
    weights = drawn()
    found = AttentionAnalyzer(2).analyze_attention_weights(convert(weights))
    assert found.informative
    assert {name: getattr(found, name) for name in NUMBERS} == pytest.approx(slow_statistics(weights))
    assert 0 < found.sparsity < 100
    assert found.mean == pytest.approx(1 / 5)
    assert f"entropy={found.entropy:.4f}" in str(found)


def test_statistics_count_what_is_present():
    maps = masked_maps()
    found = extract_attention_statistics(maps, 2)
    for direction, (queries, keys) in MODALITIES.items():
        expected = slow_statistics(maps[direction], maps.absent[keys], maps.absent[queries])
        assert {name: getattr(found[direction], name) for name in NUMBERS} == pytest.approx(expected)
    everything = extract_attention_statistics(dict(maps), 2)
    assert everything["eeg_to_spec"].min == 0 < found["eeg_to_spec"].min
    assert extract_attention_statistics(dict(maps), 2, maps.absent) == found


@pytest.mark.parametrize("keys", [2, 9, 119])
def test_uniform_attention_has_entropy_1_and_is_not_sparse(keys):
    weights = np.full((2, 3, 4, keys), 1 / keys, np.float32)
    found = AttentionAnalyzer(3).analyze_attention_weights(weights)
    assert found.entropy == pytest.approx(1, abs=1e-6)
    assert found.sparsity == 0
    assert found.std == pytest.approx(0, abs=1e-6)


def test_attention_to_one_key_has_entropy_0():
    weights = np.zeros((2, 3, 4, 20))
    weights[..., 7] = 1
    found = AttentionAnalyzer(3).analyze_attention_weights(weights)
    assert (found.entropy, found.max, found.min, found.sparsity) == (0, 1, 0, 95)


def test_entropy_does_not_depend_on_how_many_samples_share_a_batch():
    weights = drawn(1)
    analyzer = AttentionAnalyzer(2)
    once, often = (analyzer.analyze_attention_weights(np.repeat(weights, count, axis=0)) for count in (1, 16))
    assert often.entropy == pytest.approx(once.entropy)
    assert often.sparsity == pytest.approx(once.sparsity)


def test_the_limit_of_sparsity_is_a_tenth_of_the_uniform_weight():
    weights = np.array([0.9 + 0.1 - 3 * 0.024, 0.024, 0.024, 0.024])
    found = AttentionAnalyzer(1).analyze_attention_weights(weights.reshape(1, 1, 1, 4))
    assert found.sparsity == 75  # 0.1 / 4 = 0.025
    weights = np.array([1 - 3 * 0.026, 0.026, 0.026, 0.026])
    assert AttentionAnalyzer(1).analyze_attention_weights(weights.reshape(1, 1, 1, 4)).sparsity == 0


def test_a_single_token_has_no_numbers():
    analyzer = AttentionAnalyzer(2)
    single = np.ones((5, 2, 3, 1))
    found = analyzer.analyze_attention_weights(single)
    assert not found.informative
    assert [getattr(found, name) for name in NUMBERS] == [None] * 6
    assert str(found).startswith("uninformative")
    assert analyzer.get_top_attention_pairs(single) == []
    assert analyzer.compute_attention_entropy(single) is None
    assert analyzer.compute_attention_entropy(single, per_head=True) == {0: None, 1: None}
    maps = {"eeg_to_spec": single, "spec_to_eeg": drawn(5, 2, 1, 3)}
    assert analyzer.compare_modality_agreement(*maps.values()) is None
    alignment = compute_modality_alignment(maps, 2)
    assert (
        alignment["modality_agreement"] is alignment["eeg_to_spec_entropy"] is alignment["entropy_difference"] is None
    )
    assert 0 < alignment["spec_to_eeg_entropy"] < 1
    heads = head_wise_attention_analysis(maps, 2)
    assert heads["eeg_to_spec"][1]["specialization_score"] is None
    assert heads["eeg_to_spec"][1]["top_pairs"] == []
    assert heads["spec_to_eeg"][1]["specialization_score"] > 0


def test_a_sample_with_one_key_left_does_not_count():
    absent = np.zeros((3, 5), bool)
    absent[1, 1:] = True
    weights = drawn(3, absent=absent)
    analyzer = AttentionAnalyzer(2)
    found = analyzer.analyze_attention_weights(weights, absent=absent)
    assert found == analyzer.analyze_attention_weights(weights[[0, 2]])
    assert analyzer.get_top_attention_pairs(weights, absent=absent) == analyzer.get_top_attention_pairs(weights[[0, 2]])
    assert analyzer.compute_attention_entropy(weights[1:2], absent=absent[1:2]) is None


# Pairs and heads


def test_top_pairs_are_those_of_the_mean_over_samples_and_heads():
    weights = drawn()
    mean = weights.mean(axis=(0, 1))
    expected = sorted(
        ((query, key, mean[query, key]) for query, key in np.ndindex(mean.shape)), key=lambda one: -one[2]
    )
    found = AttentionAnalyzer(2).get_top_attention_pairs(torch.from_numpy(weights), top_k=7)
    assert [pair[:2] for pair in found] == [pair[:2] for pair in expected[:7]]
    assert [pair[2] for pair in found] == pytest.approx([pair[2] for pair in expected[:7]])
    assert len(AttentionAnalyzer(2).get_top_attention_pairs(weights)) == 5
    assert len(AttentionAnalyzer(2).get_top_attention_pairs(weights, top_k=99)) == 20


def test_top_pairs_are_of_windows_that_are_there():
    maps = masked_maps(samples=1)
    analyzer = AttentionAnalyzer(2)
    found = analyzer.get_top_attention_pairs(
        maps["eeg_to_spec"], 99, absent=maps.absent["spectrogram"], absent_queries=maps.absent["eeg"]
    )
    there = {
        (int(query), int(key))
        for query in np.flatnonzero(~maps.absent["eeg"][0])
        for key in np.flatnonzero(~maps.absent["spectrogram"][0])
    }
    assert {pair[:2] for pair in found} == there
    assert len(there) < 24


def test_a_pair_is_the_mean_of_the_samples_that_have_it():
    absent = np.array([[False, False, False], [False, False, True]])
    weights = np.array([[0.1, 0.3, 0.6], [0.5, 0.5, 0.0]]).reshape(2, 1, 1, 3)
    found = AttentionAnalyzer(1).get_top_attention_pairs(weights, absent=absent)
    assert found == [(0, 2, pytest.approx(0.6)), (0, 1, pytest.approx(0.4)), (0, 0, pytest.approx(0.3))]


def test_entropy_per_head_is_the_mean_of_scipys_over_queries():
    maps = masked_maps()
    weights, absent, absent_queries = maps["spec_to_eeg"], maps.absent["eeg"], maps.absent["spectrogram"]
    found = AttentionAnalyzer(2).compute_attention_entropy(weights, True, absent, absent_queries)
    for head in range(2):
        rows = rows_of(weights[:, head : head + 1], absent, absent_queries)
        assert found[head] == pytest.approx(np.mean([entropy(row, base=len(row)) for row in rows]))
    overall = AttentionAnalyzer(2).compute_attention_entropy(weights, absent=absent, absent_queries=absent_queries)
    assert overall == pytest.approx(np.mean(list(found.values())))


def test_heads_are_analyzed_one_by_one():
    forward = drawn(3, 3, 4, 5)
    forward[:, 0] = 1 / 5
    forward[:, 1] = 0
    forward[:, 1, :, 2] = 1
    maps = {"eeg_to_spec": forward, "spec_to_eeg": drawn(3, 3, 5, 4)}
    found = head_wise_attention_analysis(maps, num_heads=3)
    assert list(found) == ["eeg_to_spec", "spec_to_eeg"]
    assert list(found["eeg_to_spec"]) == [0, 1, 2]
    scores = [found["eeg_to_spec"][head]["specialization_score"] for head in range(3)]
    assert scores[:2] == pytest.approx([0, 1], abs=1e-12)
    assert scores[2] == pytest.approx(1 - slow_statistics(forward[:, 2:])["entropy"])
    assert [pair[1] for pair in found["eeg_to_spec"][1]["top_pairs"]] == [2, 2, 2]
    alone = AttentionAnalyzer(1).analyze_attention_weights(maps["spec_to_eeg"][:, 1:2])
    assert found["spec_to_eeg"][1]["statistics"] == alone


# Agreement


def test_agreement_is_the_mean_of_numpys_over_pairs_of_windows():
    maps = masked_maps()
    expected = slow_agreement(*maps.values(), maps.absent["eeg"], maps.absent["spectrogram"])
    analyzer = AttentionAnalyzer(2)
    found = analyzer.compare_modality_agreement(*maps.values(), maps.absent["eeg"], maps.absent["spectrogram"])
    assert found == pytest.approx(np.mean(expected))
    assert compute_modality_alignment(maps, 2)["modality_agreement"] == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(
        agreements(
            checked(maps["eeg_to_spec"], 2, "", maps.absent["spectrogram"], maps.absent["eeg"]),
            checked(maps["spec_to_eeg"], 2, "", maps.absent["eeg"], maps.absent["spectrogram"]),
        ),
        expected,
    )


def test_like_pairs_are_compared():
    """A map and its transpose agree wholly, which flattened maps do not: here they even disagree."""
    doubly = np.array([[0.0, 0.9, 0.1], [0.1, 0.0, 0.9], [0.9, 0.1, 0.0]]).reshape(1, 1, 3, 3)
    analyzer = AttentionAnalyzer(1)
    assert analyzer.compare_modality_agreement(doubly, doubly.swapaxes(2, 3)) == pytest.approx(1)
    assert analyzer.compare_modality_agreement(doubly, doubly) < 0


def test_agreement_is_that_of_every_sample_and_then_the_mean():
    first = np.array([[0.9, 0.1], [0.1, 0.9]])
    forward, backward = np.stack([first, first])[:, None], np.stack([first.T, 1 - first.T])[:, None]
    assert AttentionAnalyzer(1).compare_modality_agreement(forward, backward) == pytest.approx(0)
    assert AttentionAnalyzer(1).compare_modality_agreement(forward[:1], backward[:1]) == pytest.approx(1)


def test_maps_that_do_not_vary_agree_with_nothing():
    forward, uniform = drawn(2, 2, 4, 5), np.full((2, 2, 5, 4), 0.25, np.float32)
    rounded = uniform + 1e-8 * np.random.default_rng(0).normal(size=uniform.shape)
    analyzer = AttentionAnalyzer(2)
    assert analyzer.compare_modality_agreement(forward, uniform) is None
    assert analyzer.compare_modality_agreement(forward, rounded) is None
    half = np.concatenate([uniform[:1], drawn(1, 2, 5, 4)])
    alone = analyzer.compare_modality_agreement(forward[1:], half[1:])
    assert analyzer.compare_modality_agreement(forward, half) == pytest.approx(alone)


def test_alignment_holds_the_entropies():
    maps = masked_maps()
    found, statistics = compute_modality_alignment(maps, 2), extract_attention_statistics(maps, 2)
    own = [statistics[direction].entropy for direction in DIRECTIONS]
    assert found["eeg_to_spec_entropy"] == own[0]
    assert found["spec_to_eeg_entropy"] == own[1]
    assert found["entropy_difference"] == pytest.approx(abs(own[0] - own[1]))
    assert set(found) == {"modality_agreement", "eeg_to_spec_entropy", "spec_to_eeg_entropy", "entropy_difference"}


# The fusion's own weights


def test_the_fusion_returns_the_weights_of_every_head():
    torch.manual_seed(0)
    fusion = CrossModalFusion(8, 4, 0.3).eval()
    tokens = torch.randn(3, 4, 8), torch.randn(3, 6, 8)
    absent = torch.zeros(3, 4, dtype=torch.bool), torch.zeros(3, 6, dtype=torch.bool)
    absent[1][2, 3:] = True
    with torch.no_grad():
        fused, attention = fusion(*tokens, *absent, return_attention=True)
        assert torch.allclose(fused, fusion(*tokens, *absent), atol=1e-6)
        averaged = {
            "eeg_to_spec": fusion.eeg_to_spec(tokens[0], tokens[1], tokens[1], key_padding_mask=absent[1])[1],
            "spec_to_eeg": fusion.spec_to_eeg(tokens[1], tokens[0], tokens[0], key_padding_mask=absent[0])[1],
        }
    assert tuple(attention) == DIRECTIONS == tuple(MODALITIES)
    assert attention["eeg_to_spec"].shape == (3, 4, 4, 6)
    for direction, weights in attention.items():
        torch.testing.assert_close(weights.mean(dim=1), averaged[direction])
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:3]))
    assert (attention["eeg_to_spec"][2, ..., 3:] == 0).all()
    assert isinstance(fusion.eeg_to_spec, nn.MultiheadAttention)
    found = extract_attention_statistics(attention, 4, {"spectrogram": absent[1]})
    assert found["eeg_to_spec"].min > 0


def test_half_precision_is_taken():
    weights = torch.softmax(torch.randn(2, 2, 3, 119), dim=-1)
    exact = AttentionAnalyzer(2).analyze_attention_weights(weights)
    for kind in (torch.bfloat16, torch.float16):
        found = AttentionAnalyzer(2).analyze_attention_weights(weights.to(kind))
        assert found.entropy == pytest.approx(exact.entropy, abs=1e-3)


# Refusals

GOOD = {"eeg_to_spec": drawn(3, 2, 4, 5), "spec_to_eeg": drawn(3, 2, 5, 4)}


def changed(value, place=(1, 0, 2, 3)):
    weights = drawn()
    weights[place] = value
    return weights


@pytest.mark.parametrize(
    ("weights", "settings", "message"),
    [
        (drawn().mean(axis=1), {}, r"weights of shape \(3, 4, 5\); expected \(samples, heads, queries, keys\)"),
        (np.ones((0, 2, 4, 1)), {}, r"weights of shape \(0, 2, 4, 1\); .* none of them 0"),
        (drawn(heads=3), {}, "weights of 3 heads, but num_heads is 2"),
        (changed(np.nan), {}, "sample 1, head 0, query 2, key 3: nan; expected a finite weight"),
        (changed(-0.1), {}, "sample 1, head 0, query 2, key 3: -0.1; expected no negative weight"),
        (drawn() * 1.01, {}, r"sample 0, head 0, query 0: 1.01; the sum over keys; expected 1 \(dropout"),
        (drawn(), {"absent": np.ones((3, 5), bool)}, "sample 0: all keys are absent"),
        (drawn(), {"absent_queries": np.ones((3, 4), bool)}, "sample 0: all queries are absent"),
        (
            drawn(),
            {"absent": np.zeros((3, 4), bool)},
            r"absent keys are bool of shape \(3, 4\); expected bool of \(3, 5\)",
        ),
        (drawn(), {"absent": np.zeros((3, 5))}, r"absent keys are float64 of shape \(3, 5\); expected bool"),
        (drawn(), {"absent": np.eye(3, 5, 2, dtype=bool)}, "sample 0, head 0, query 0, key 2: .*; expected 0, since"),
    ],
)
def test_weights_that_are_none_are_refused(weights, settings, message):
    with pytest.raises(ConsilienceError, match=f"^named: {message}"):
        AttentionAnalyzer(2).analyze_attention_weights(weights, "named", **settings)


@pytest.mark.parametrize(
    ("maps", "settings", "message"),
    [
        ({"eeg_to_spec": drawn()}, {}, "attention_dict: no spec_to_eeg; it has eeg_to_spec"),
        ({}, {}, "attention_dict: no eeg_to_spec; it has nothing"),
        (
            GOOD | {"spec_to_eeg": drawn(3, 2, 6, 4)},
            {},
            r"eeg_to_spec is \(3, 2, 4, 5\) and spec_to_eeg \(3, 2, 6, 4\); expected queries",
        ),
        (GOOD | {"spec_to_eeg": drawn(2, 2, 5, 4)}, {}, "expected queries and keys of one to be keys and queries"),
        (GOOD, {"num_heads": 8}, "eeg_to_spec: weights of 2 heads, but num_heads is 8"),
        (
            GOOD,
            {"absent": {"spec": np.zeros((3, 5), bool)}},
            "absent: no modality 'spec'; expected eeg and spectrogram",
        ),
    ],
)
def test_directions_that_do_not_fit_are_refused(maps, settings, message):
    settings = {"num_heads": 2} | settings
    for function in (head_wise_attention_analysis, extract_attention_statistics, compute_modality_alignment):
        with pytest.raises(ConsilienceError, match=message):
            function(maps, **settings)


def test_no_pairs_are_refused():
    with pytest.raises(ConsilienceError, match="^top_k: 0; expected at least 1"):
        AttentionAnalyzer(2).get_top_attention_pairs(drawn(), top_k=0)


def test_other_heads_are_refused_of_checked_weights_too():
    with pytest.raises(ConsilienceError, match="weights of 2 heads, but num_heads is 1"):
        AttentionAnalyzer(1).analyze_attention_weights(checked(drawn(), 2))


# The package


def test_the_package_offers_every_name_and_stays_light():
    root = Path(__file__).parents[2] / "workflow"
    heavy = ("torch", "numpy", "scipy", "matplotlib", "pandas", "torch_geometric")
    code = (
        "import sys; from consilience.domains import eeg; "
        f"print(*sorted(set(sys.modules) & set({heavy!r}))); "
        "from consilience.domains.eeg import AttentionAnalyzer, plot_attention_heatmap, create_explainability_report; "
        "print(*sorted(set(sys.modules) & {'torch', 'torch_geometric', 'pandas'}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout == "\n\n"
    for name in eeg.__all__:
        assert getattr(eeg, name).__name__ == name
        assert name in dir(eeg)
    with pytest.raises(AttributeError, match="has no attribute 'plot_nothing'"):
        eeg.plot_nothing  # noqa: B018
