"""Google's speech embedding, computed as the audio comes: 96 numbers every 80 ms.

It looks at the last 760 ms. The spectrogram is the one that the embedding was trained on, written out
here (no model file for it): 32 mel bands from 60 to 3800 Hz of 25 ms every 10 ms, in decibels. The
network is the graph in ``models/speech-embedding-v1``; its card says where it comes from.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware.audio import RATE, SAMPLE_BYTES

Array = npt.NDArray[np.floating[Any]]

FFT = 512
WINDOW = 400
HOP = 160
MELS = 32
LOW_HZ, HIGH_HZ = 60.0, 3800.0
FLOOR = 10.0  # power (10 dB), below the rounding noise of 16 bits: digital silence is no different from it
FRAMES = 8  # of 10 ms: one embedding's step
EMBEDDING = 96
MEMORY_FRAMES = 80  # it looks at 76, in steps of 8
STEP_BYTES = FRAMES * HOP * SAMPLE_BYTES
OVERLAP_BYTES = (FFT - HOP) * SAMPLE_BYTES
MODEL = Path("speech-embedding-v1") / "embedding.onnx"
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Unless this is set before it is loaded, onnxruntime reports its use to its maker and keeps a device number
under HOME. A process that hears a home tells nobody anything."""


def find_models() -> Path:
    """Return the folder of models: at the top of a checkout, inside the package once installed."""
    top = Path(__file__).resolve().parents[2]
    installed = top / "guard" / "_data" / "models"
    return installed if installed.is_dir() else top / "models"


def get_mel_weights() -> Array:
    """Return the (257, 32) mel filters, after Slaney, each of area one."""
    step = 200.0 / 3  # Hz a mel below 1 kHz; logarithmic above
    log_step = np.log(6.4) / 27
    low, high = LOW_HZ / step, 15 + np.log(HIGH_HZ / 1000) / log_step
    mels = np.linspace(low, high, MELS + 2)
    edges = np.where(mels < 15, mels * step, 1000 * np.exp(log_step * (mels - 15)))
    bins = np.arange(FFT // 2 + 1)[:, None] * (RATE / FFT)
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    weights = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))
    made: Array = weights.astype(np.float32)
    return made


def get_window() -> Array:
    """Return the 25 ms Hann window in the middle of one transform."""
    window = np.zeros(FFT, dtype=np.float32)
    margin = (FFT - WINDOW) // 2
    window[margin : margin + WINDOW] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return window


def load_runtime() -> Any:
    """Return onnxruntime, made to keep to itself."""
    os.environ[NO_TELEMETRY] = "1"
    import onnxruntime

    return onnxruntime


class Embedding:
    """One channel's embedding; remembers what the next step needs."""

    def __init__(self, model: Path | None = None) -> None:
        onnxruntime = load_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        path = find_models() / MODEL if model is None else model
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._memories = [one for one in self._session.get_inputs() if one.name != "mel"]
        self._outputs = [one.name for one in self._session.get_outputs()]
        self._window, self._mel = get_window(), get_mel_weights()
        self._state: dict[str, Array] = {}
        self._audio = b""
        self.reset()

    def reset(self) -> None:
        """Forget the audio heard so far: silence was before."""
        self._state = {one.name: np.zeros((1, *one.shape[1:]), dtype=np.float32) for one in self._memories}
        self._audio = bytes(OVERLAP_BYTES)
        self._run(np.full((MEMORY_FRAMES, MELS), np.log10(FLOOR) + 2, dtype=np.float32))

    def receive_audio(self, audio: bytes) -> Array:
        """Return the (steps, 96) embeddings that became known with ``audio`` (16 kHz mono 16-bit)."""
        self._audio += audio
        steps = (len(self._audio) - OVERLAP_BYTES) // STEP_BYTES
        if steps == 0:
            return np.empty((0, EMBEDDING), dtype=np.float32)
        mel = self.get_mel(self._audio[: steps * STEP_BYTES + OVERLAP_BYTES])
        self._audio = self._audio[steps * STEP_BYTES :]
        return self._run(mel)

    def get_mel(self, audio: bytes) -> Array:
        """Return the (frames, 32) mel spectrogram of ``audio`` as the embedding takes it."""
        samples = np.frombuffer(audio, dtype="<i2").astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples, FFT)[::HOP] * self._window
        spectrum = np.fft.rfft(frames)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ self._mel
        mel: Array = np.log10(np.maximum(power, FLOOR), dtype=np.float32) + np.float32(2)
        return mel

    def _run(self, mel: Array) -> Array:
        inputs = {"mel": mel.reshape(1, 1, -1, MELS), **self._state}
        embeddings, *memories = self._session.run(self._outputs, inputs)
        self._state = {one.name: memory for one, memory in zip(self._memories, memories, strict=True)}
        table: Array = embeddings.reshape(EMBEDDING, -1).T
        return table
